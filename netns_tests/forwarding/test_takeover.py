"""A proxy is started over the rules of another, while clients keep connecting."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import pytest

from kproxy.address import Family
from kproxy.api.types import ServicePort
from kproxy.backend import load
from kproxy.bench.cluster import objects
from kproxy.lab import service
from kproxy.proxy import NodeProxy
from kproxy.store import Store
from kproxy.testing import LabFactory, delivered
from kproxy.testing.node import CONFIG
from netns_tests.modes import IPTABLES, NFTABLES, Mode

CROWD = 650  # more Services than fit into two batches of iptables-nft, or into one of new chains

TURNS = [  # successor, its transactions; the predecessor is the one before, at first the last
    [(IPTABLES[0], {4})],
    [(IPTABLES[1], {1})],
    # The first one removes the set of those addresses at which the lab's proxy has node ports.
    *([(layout, {1, 2})] for layout in NFTABLES),
    # New chains, batches of their rules, what leads to them, and what nothing leads to any more.
    [(NFTABLES[1], {4}), (NFTABLES[0], {5})],
]
ANSWERS = 20  # at least so many, while take-overs follow one another


@pytest.mark.parametrize(
    "turns", TURNS, ids=lambda turns: "-and-".join(str(mode) for mode, _ in turns)
)
def test_taking_over_leaves_no_gap(
    kproxy_lab: LabFactory, turns: Sequence[tuple[Mode, set[int]]]
) -> None:
    """The Service that is asked is written last."""
    former, _ = turns[-1]
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
    enough = threading.Event()
    finished: list[Mode] = []

    def take_over() -> None:
        for mode, transactions in cycle(turns):
            chosen = load(mode.name)
            backend = chosen.backend(Family.IPV4, mode.options)
            successor = NodeProxy(
                store, CONFIG, {Family.IPV4: backend}, mode=chosen.config, options=mode.options
            )
            with lab.nodes["node-a"].namespace.entered():
                (report,) = successor.sync()
            assert report.transactions in transactions
            finished.append(mode)
            if enough.is_set():
                return

    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(take_over)
        answers = [lab.connect("visitor", "10.200.0.1", 80)]
        while not task.done() and (len(answers) < ANSWERS or len(finished) < len(turns)):
            answers.append(lab.connect("visitor", "10.200.0.1", 80))
        enough.set()
        task.result()
    assert {str(answer) for answer in answers} == {str(answers[0])}
    assert answers[0] == delivered("shop", source="visitor")
