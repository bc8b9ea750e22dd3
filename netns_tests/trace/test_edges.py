"""Ways through the edge of a cloud, tunnels, and an ingress."""

from __future__ import annotations

from pathlib import Path

import pytest

from kproxy.address import Family
from kproxy.explain import trace
from kproxy.lab import Lab, load_spec
from netns_tests.edge.edge_lab import apply, pod, running, spec, web
from netns_tests.modes import Mode
from netns_tests.trace.balanced import through_the_load_balancer
from netns_tests.trace.test_traces import check_ends

EXAMPLES = Path(__file__).parents[2] / "examples"
V4, V6 = Family.IPV4, Family.IPV6
PODS = {"node-a": (pod("web-a", "web"),), "node-b": (pod("shell"),)}


@pytest.mark.parametrize("mode", [Mode("iptables"), Mode("nftables")], ids=str)
def test_through_a_load_balancer(mode: Mode) -> None:
    with running(spec("tunnel", PODS), mode) as lab:
        for found in through_the_load_balancer(lab):
            check_ends(found)
            kinds = {hop.host: hop.kind for hop in found.hops}
            assert kinds["gateway"] == kinds["lb"] == "edge"
            assert kinds["router"] == "router"
            # The router sends answers back to the balancer by a mark.
            for hop in found.hops:
                assert hop.route
                assert hop.exit in ("", hop.route.dev), hop


def test_through_a_tunnel() -> None:
    """The bare packet counts, not the one that carries it."""
    with running(spec("tunnel", PODS, families=(V4,)), Mode("nftables")) as lab:
        apply(lab, web(families=(V4,)))
        found = trace(lab, "shell", "web:http")
        assert (found.at, found.answered) == ("web-a", True)
        check_ends(found)
        leaving, between, entering = found.hops[1:4]
        assert (leaving.host, between.host, entering.host) == ("node-b", "router", "node-a")
        assert leaving.exit == entering.entry
        assert leaving.exit not in ("", "eth0")
        assert between.before == leaving.after


def test_an_ingress_answers_itself() -> None:
    with Lab(load_spec(EXAMPLES / "lab/ingress.yaml"), "iptables") as lab:
        lab.apply(EXAMPLES)
        found = trace(lab, "outside", "pod/front:80")
        assert (found.at, found.answered, found.endpoints) == ("front", True, ())
        check_ends(found)
