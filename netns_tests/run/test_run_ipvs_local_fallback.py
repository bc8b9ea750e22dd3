"""The flag of `kproxy run` for ipvs mode as it was before Kubernetes 1.25."""

from __future__ import annotations

import pytest

from kproxy.address import Family
from kproxy.kernel.ipvs import Ipvs, VirtualServer
from netns_tests.run.running import Place
from netns_tests.run.test_run_health_checks import write

pytestmark = pytest.mark.ipvs

NODE_PORT = VirtualServer("TCP", "192.168.10.10", 30080)


def real_servers() -> int:
    """Return how many real servers the node port has."""
    with Ipvs() as ipvs:
        assert NODE_PORT in ipvs.virtual_servers(Family.IPV4)
        return len(ipvs.real_servers(NODE_PORT))


def test_each_start_decides(place: Place) -> None:
    place.tool("ip", "link", "set", "lo", "up")
    place.tool("ip", "address", "add", f"{NODE_PORT.address}/32", "dev", "lo")
    manifest = str(write(place, node="node-b"))  # policy Local, and this is node-a
    for flags, expected in (
        ((), 1),
        (("--no-ipvs-local-fallback",), 0),
        (("--ipvs-local-fallback",), 1),
    ):
        done = place.once("--once", "--proxy-mode=ipvs", "--manifests", manifest, *flags)
        assert done.returncode == 0, done.stderr
        assert place.namespace.run(real_servers) == expected
