"""Renews the Leases of a lab's Nodes, as their kubelets would."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from math import inf

from kproxy.controlplane.node_leases import INTERVAL_S, NAMESPACE, lease_key, renewed
from kproxy.lab.cluster.shared_cluster import SharedCluster


class NodeLeases:
    """The Leases of Nodes, which are written only where somebody follows documents."""

    def __init__(self, cluster: SharedCluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._nodes: tuple[str, ...] = ()
        self._due = 0.0

    def start(self, nodes: Iterable[str]) -> None:
        """Take the names of the Nodes."""
        self._nodes = tuple(nodes)

    def due(self) -> float:
        """Return when `renew` has something to do, by the clock; inf for never."""
        return self._due if self._nodes and self._cluster.documents.followed else inf

    def renew(self) -> None:
        """Renew all Leases if they are due. A deleted one is written again; that of a Node that is
        gone is not.
        """
        if self._clock() < self.due():
            return
        self._due = self._clock() + INTERVAL_S
        with self._cluster.lock:
            documents = self._cluster.documents
            if self._cluster.namespace_state(NAMESPACE) != "Active":
                return
            for node in self._nodes:
                if uid := documents.uid(("Node", "", node)):
                    former = documents.get(lease_key(node))
                    found = renewed(node, uid, datetime.now(UTC), former)
                    self._cluster.writes.write_document(found)
