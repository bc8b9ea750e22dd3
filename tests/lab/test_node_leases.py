"""Leases of Nodes: who has them, and when they are renewed."""

from __future__ import annotations

from math import inf
from random import Random

from kproxy.api.types import Metadata, Node
from kproxy.controlplane.document_verbs import DocumentVerbs
from kproxy.controlplane.node_leases import INTERVAL_S, lease_key
from kproxy.controlplane.plane import Json
from kproxy.lab.cluster.node_leases import NodeLeases
from kproxy.lab.cluster.shared_cluster import SharedCluster, now


class Leased:
    """A cluster with a Node, and a clock that is set by hand."""

    def __init__(self, *, followed: bool = True) -> None:
        self.cluster = SharedCluster(("10.96.0.0/24",), random=Random(1))
        self.cluster.apply([Node(metadata=Metadata(name="node-a", namespace=""))])
        self.verbs = DocumentVerbs(self.cluster)
        self.clock_s = 100.0
        self.leases = NodeLeases(self.cluster, lambda: self.clock_s)
        self.leases.start(["node-a"])
        if followed:
            self.verbs.follow(lambda _: None)

    def lease(self) -> Json | None:
        return self.verbs.get(lease_key("node-a"))

    def pass_interval(self) -> None:
        self.clock_s += INTERVAL_S
        self.leases.renew()
        self.cluster.reconcile(now())


def test_a_lease_is_held_by_its_node_and_renewed() -> None:
    leased = Leased()
    leased.leases.renew()
    first = leased.lease()
    assert first
    assert first["metadata"]["namespace"] == "kube-node-lease"
    assert first["metadata"]["ownerReferences"][0]["kind"] == "Node"
    assert (first["spec"]["holderIdentity"], first["spec"]["leaseDurationSeconds"]) == (
        "node-a",
        40,
    )
    assert leased.leases.due() == leased.clock_s + INTERVAL_S
    leased.leases.renew()
    assert leased.lease() is first
    leased.pass_interval()
    second = leased.lease()
    assert second
    assert second["spec"]["renewTime"] > first["spec"]["renewTime"]
    assert second["metadata"]["uid"] == first["metadata"]["uid"]


def test_what_others_add_to_a_lease_stays() -> None:
    leased = Leased()
    leased.leases.renew()
    first = leased.lease()
    assert first
    metadata = {**first["metadata"], "labels": {"own": "label"}}
    leased.verbs.update({**first, "metadata": metadata, "spec": {"holderIdentity": "thief"}})
    leased.pass_interval()
    second = leased.lease()
    assert second
    assert second["metadata"]["labels"] == {"own": "label"}
    assert second["spec"]["holderIdentity"] == "node-a"


def test_a_deleted_lease_comes_back_with_the_next_renewal() -> None:
    leased = Leased()
    leased.leases.renew()
    leased.verbs.delete(lease_key("node-a"))
    assert leased.lease() is None
    leased.pass_interval()
    assert leased.lease()


def test_a_node_that_is_gone_has_no_lease() -> None:
    leased = Leased()
    leased.leases.renew()
    leased.verbs.delete(("Node", "", "node-a"))
    leased.cluster.reconcile(now())
    assert leased.lease() is None
    leased.pass_interval()
    assert leased.lease() is None


def test_nothing_is_renewed_in_a_namespace_that_is_gone() -> None:
    leased = Leased()
    leased.leases.renew()
    leased.verbs.delete(("Namespace", "", "kube-node-lease"))
    leased.cluster.reconcile(now())
    leased.pass_interval()
    assert leased.lease() is None
    assert leased.verbs.get(("Namespace", "", "kube-node-lease")) is None


def test_nothing_is_written_if_nobody_follows() -> None:
    leased = Leased(followed=False)
    leased.leases.renew()
    assert leased.lease() is None
    assert leased.leases.due() == inf
