"""A lab of more hosts than the kernel remembers as neighbours."""

from __future__ import annotations

import pytest

from kproxy.address import Family
from kproxy.kernel import sysctl
from kproxy.lab import Lab, LabSpec, NodeSpec

READ = sysctl.read


def test_a_lab_says_if_the_kernel_remembers_fewer_neighbours(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting is the machine's, so that its reader is replaced here."""
    monkeypatch.setattr(sysctl, "read", lambda name: "15" if "gc_thresh3" in name else READ(name))
    nodes = tuple(NodeSpec(name=name) for name in "abcdefg")
    for families, told in (((Family.IPV4,), ["IPv4"]), (tuple(Family), ["IPv4", "IPv6"])):
        caplog.clear()
        with Lab(LabSpec(nodes=nodes, families=families), mode=None):
            pass
        assert [family for family in ("IPv4", "IPv6") if f"of {family}" in caplog.text] == told
    assert "sysctl -w net.ipv6.neigh.default.gc_thresh3=32" in caplog.text
    caplog.clear()
    with Lab(LabSpec(nodes=nodes[1:]), mode=None):
        pass
    assert not caplog.text
