"""A full sync, and a successor, repair damage that is not checked for every second."""

from __future__ import annotations

import json
import re

import pytest
from kproxy_nftables.names import TABLE

from kproxy.kernel.process import run
from netns_tests.modes import NFTABLES, Mode
from netns_tests.node import Bench, bench, filled, fresh_state

CHAIN, MAP = "nat-postrouting", "service-ips"  # in both layouts
INSTEAD = (  # an element's comment
    "delete element ip kube-proxy service-ips {{ {frontend} }};"
    "add element ip kube-proxy service-ips "
)
HARMS = [  # counting rules and elements does not show them
    "replace rule ip kube-proxy {chain} handle {rule} accept",
    INSTEAD + "{{ {frontend} : drop }}",
    INSTEAD + "{{ 192.0.2.1 . tcp . 80 : drop }}",
    "add table ip kube-proxy {{ flags dormant; }}",
    "add chain ip kube-proxy mine",
    "add chain ip kube-proxy mine {{ type filter hook forward priority 5; policy drop; }}",
    "add set ip kube-proxy mine {{ type ipv4_addr; elements = {{ 192.0.2.1 }}; }}",
]


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
@pytest.mark.parametrize("restarted", [False, True], ids=["full sync", "restart"])
@pytest.mark.parametrize("harm", HARMS)
def test_everything_is_put_right(mode: Mode, restarted: bool, harm: str) -> None:
    with bench(mode) as node:
        cluster = filled(node)
        intact = node.state()
        run(["nft", harm.format(chain=CHAIN, rule=first_rule(), frontend=first_frontend())])
        assert node.state() != intact
        if restarted:
            node = Bench(mode)
            node.sync(cluster.objects.values())
        else:
            node.proxy.sync(full=True)
        assert node.state() == fresh_state(mode, cluster.objects.values())
        assert node.proxy.damaged() == ()


def first_rule() -> int:
    """Return the handle of a rule."""
    listed = json.loads(run(["nft", "--json", "list", "chain", "ip", TABLE, CHAIN]))
    handles = [each["rule"]["handle"] for each in listed["nftables"] if "rule" in each]
    return int(handles[0])


def first_frontend() -> str:
    found = re.search(r"elements = \{ (.*?) : ", run(["nft", "list", "map", "ip", TABLE, MAP]))
    assert found
    return found[1]
