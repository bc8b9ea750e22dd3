"""A proxy is started anew over the rules of another, while clients go on asking."""

from __future__ import annotations

import threading
from typing import get_args

import pytest
from kproxy_iptables import IptablesBackend
from kproxy_iptables.backend import NFT_BATCH_SERVICES

from kproxy.api.types import ServicePort
from kproxy.backend import BackendOptions
from kproxy.bench.cluster import objects
from kproxy.forwarding.plan import Family
from kproxy.kernel.xtables import Variant
from kproxy.lab import service
from kproxy.proxy import NodeProxy
from kproxy.store import Store
from kproxy.testing import LabFactory, delivered
from netns_tests.node import CONFIG


@pytest.mark.parametrize("variant", get_args(Variant))
def test_taking_over_leaves_no_gap(kproxy_lab: LabFactory, variant: Variant) -> None:
    """More services than fit into a batch, and the one that is asked comes last."""
    options = BackendOptions(iptables_variant=variant)
    lab = kproxy_lab(pods={"shop": "node-a", "visitor": "node-a"}, options=options)
    shop = service(
        "shop",
        cluster_ips=["10.200.0.1"],
        ports=[ServicePort(port=80, target_port=8080)],
        selector={"app": "shop"},
    )
    crowd = [*objects(NFT_BATCH_SERVICES + 50, 1), shop, *lab.slices(shop)]
    lab.apply(crowd)

    store = Store()
    store.replace(crowd)
    backend = IptablesBackend(Family.IPV4, options)
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
    assert [report.transactions for report in reports] == [3 if variant == "nft" else 1]
    assert {str(answer) for answer in answers} == {str(answers[0])}
    assert answers[0] == delivered("shop", source="visitor")
    assert len(answers) > 1
