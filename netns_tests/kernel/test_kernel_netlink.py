"""Many requests in one send, and the failing ones among them; with ipset and links."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from kproxy.address import Family
from kproxy.errors import KernelRefused
from kproxy.kernel import ipset, netlink
from kproxy.kernel.ipset_attributes import Shape
from kproxy.kernel.netns import Namespace

# Several sends of 64 KiB.
ENTRIES = [f"10.0.{number >> 8}.{number & 255}" for number in range(5000)]


@pytest.fixture(autouse=True)
def _own_namespace() -> Iterator[None]:
    with Namespace.create() as namespace, namespace.entered():
        ipset.create([("there", Shape("hash:ip", Family.IPV4, {}))])
        yield


def test_the_first_failures_are_told_and_the_others_counted() -> None:
    with pytest.raises(KernelRefused) as refused:
        ipset.edit([("missing", each) for each in ENTRIES] + [("there", "10.0.0.1")], [])
    assert str(refused.value).splitlines() == [
        "ipset add missing 10.0.0.0: No such file or directory",
        "ipset add missing 10.0.0.1: No such file or directory",
        "ipset add missing 10.0.0.2: No such file or directory",
        "... and 4997 more",
    ]
    assert ipset.sizes() == {"there": 1}


def test_more_failures_than_the_socket_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a socket like root of a user namespace, who cannot have a large buffer."""
    monkeypatch.setattr(netlink, "_BUFFER_BYTES", 4096)
    with pytest.raises(KernelRefused, match=r"10\.0\.0\.0 \.\.\.: so many errors that some were"):
        ipset.edit([("missing", each) for each in ENTRIES] + [("there", "10.0.0.1")], [])
    assert ipset.sizes() == {"there": 1}


UNPRIVILEGED = """
import os
from kproxy.address import Family
from kproxy.errors import Unsupported
from kproxy.kernel.netlink import NETLINK_ROUTE, Netlink, Request
os.setgid(65534); os.setuid(65534)
index_of_lo = bytes(4) + (1).to_bytes(4, "little") + bytes(8)
with Netlink(NETLINK_ROUTE) as netlink:
    try:
        netlink.send([Request(16, index_of_lo, ("change", "lo"))] * 100)
    except Unsupported as error:
        print(error)
    print(b"lo" in bytes(netlink.ask(Request(18, index_of_lo, ("look at", "lo")))))
"""


def test_without_privilege_a_socket_remains_usable() -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["change lo: Operation not permitted", "True"]
