"""Addresses are read as in Kubernetes, and the quick way prints what the thorough one prints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.api.addresses import canonical_cidr, canonical_ip, parse_cidr, parse_ip

ADDRESSES = [  # text -> canonical, "" if it is no address
    ("10.96.0.10", "10.96.0.10"),
    ("172.30.0.041", "172.30.0.41"),  # decimal, not octal
    ("010.000.0.1", "10.0.0.1"),
    ("0.0.0.0", "0.0.0.0"),
    ("256.0.0.1", ""),
    ("1.2.3", ""),
    ("1.2.3.4.5", ""),
    ("1.2.3.-4", ""),
    ("0x7f.0.0.1", ""),
    (" 1.2.3.4", ""),
    ("1.2.3.4\n", ""),
    ("1.2.3.4\0", ""),
    ("١.2.3.4", ""),
    ("1.2.3.4/32", ""),
    ("", ""),
    ("example", ""),
    ("FD00:0:0:0:0:0:0:00A", "fd00::a"),
    ("fd00:0010::1", "fd00:10::1"),
    ("fd00:10:244:0::5", "fd00:10:244::5"),
    ("1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"),  # a single zero group is not shortened
    ("::", "::"),
    ("::1", "::1"),
    ("::1.2.3.4", "::102:304"),
    ("::ffff:10.0.0.1", "10.0.0.1"),  # the same packets
    ("::ffff:010.0.0.1", "10.0.0.1"),
    ("::ffff:a00:1", "10.0.0.1"),
    ("fe80::1%eth0", ""),
    ("[::1]", ""),
    ("1::2::3", ""),
    ("12345::", ""),
]

CIDRS = [  # text -> canonical, "" if it is no CIDR
    ("10.1.2.3/8", "10.0.0.0/8"),
    ("010.1.2.3/08", "10.0.0.0/8"),
    ("10.0.0.0/32", "10.0.0.0/32"),
    ("0.0.0.0/0", "0.0.0.0/0"),
    ("fd00::1/64", "fd00::/64"),
    ("::/0", "::/0"),
    ("::ffff:10.1.0.0/112", "10.1.0.0/16"),
    ("::ffff:10.1.0.0/90", ""),
    ("10.0.0.0", ""),
    ("10.0.0.0/", ""),
    ("10.0.0.0/33", ""),
    ("10.0.0.0/-1", ""),
    ("10.0.0.0/+8", ""),
    ("10.0.0.0/255.0.0.0", ""),
    ("10.0.0.0/8 ", ""),
    ("fd00::/129", ""),
    ("fd00::%eth0/64", ""),
    ("/8", ""),
    ("", ""),
]


@pytest.mark.parametrize(("text", "canonical"), ADDRESSES)
def test_addresses(text: str, canonical: str) -> None:
    parsed = parse_ip(text)
    assert ("" if parsed is None else str(parsed)) == canonical
    assert canonical_ip(text) == canonical


@pytest.mark.parametrize(("text", "canonical"), CIDRS)
def test_cidrs(text: str, canonical: str) -> None:
    parsed = parse_cidr(text)
    assert ("" if parsed is None else str(parsed)) == canonical
    assert canonical_cidr(text) == canonical


@given(st.ip_addresses().map(str) | st.text("0123456789abcdef:./%", max_size=20) | st.text())
def test_the_quick_way_equals_the_thorough_one(text: str) -> None:
    parsed = parse_ip(text)
    canonical = canonical_ip(text)
    assert canonical == ("" if parsed is None else str(parsed))
    assert canonical_ip(canonical) == canonical
