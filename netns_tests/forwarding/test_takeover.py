"""A proxy is started anew over the rules of another, while clients go on asking."""

from __future__ import annotations

import threading

import pytest

from kproxy.api.types import ServicePort
from kproxy.backend import load
from kproxy.bench.cluster import objects
from kproxy.forwarding.plan import Family
from kproxy.lab import service
from kproxy.proxy import NodeProxy
from kproxy.store import Store
from kproxy.testing import LabFactory, delivered
from netns_tests.modes import IPTABLES, NFTABLES, Mode
from netns_tests.node import CONFIG

CROWD = 650  # more Services than fit into two batches of iptables-nft, or into one of new chains

TAKE_OVERS = [  # whose rules, by whom, in how many transactions
    *((IPTABLES[0], IPTABLES[0], 4), (IPTABLES[1], IPTABLES[1], 1)),
    *((layout, layout, 1) for layout in NFTABLES),
    (NFTABLES[1], NFTABLES[0], 4),
    (NFTABLES[0], NFTABLES[1], 1),
]


@pytest.mark.parametrize(("former", "mode", "transactions"), TAKE_OVERS, ids=str)
def test_taking_over_leaves_no_gap(
    kproxy_lab: LabFactory, former: Mode, mode: Mode, transactions: int
) -> None:
    """The Service that is asked comes last."""
    lab = kproxy_lab(
        pods={"shop": "node-a", "visitor": "node-a"}, mode=former.name, options=former.options
    )
    shop = service(
        "shop",
        cluster_ips=["10.200.0.1"],
        ports=[ServicePort(port=80, target_port=8080)],
        selector={"app": "shop"},
    )
    crowd = [*objects(CROWD, 1), shop, *lab.slices(shop)]
    lab.apply(crowd)

    store = Store()
    store.replace(crowd)
    backend = load(mode.name)(Family.IPV4, mode.options)
    successor = NodeProxy(store, CONFIG, {Family.IPV4: backend})
    reports = []

    def take_over() -> None:
        with lab.nodes["node-a"].namespace.entered():
            reports.extend(successor.sync())

    thread = threading.Thread(target=take_over)
    thread.start()
    answers = [lab.connect("visitor", "10.200.0.1", 80)]
    while thread.is_alive():
        answers.append(lab.connect("visitor", "10.200.0.1", 80))
    thread.join()
    assert [report.transactions for report in reports] == [transactions]
    assert {str(answer) for answer in answers} == {str(answers[0])}
    assert answers[0] == delivered("shop", source="visitor")
    assert len(answers) > 1
