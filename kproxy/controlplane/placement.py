"""Which Pods get a Node, and which have to leave theirs."""

from __future__ import annotations

from msgspec.structs import replace

from kproxy.api.types import Node, Pod
from kproxy.controlplane import members, pod_events
from kproxy.controlplane.cluster_warnings import ClusterWarnings
from kproxy.controlplane.scheduler import EVICTING, Scheduler, evicts, repelling
from kproxy.controlplane.writes import Writes
from kproxy.store import object_key


class Placement:
    """Places the Pods of a cluster, and evicts them."""

    def __init__(self, writes: Writes, warnings: ClusterWarnings) -> None:
        self._writes = writes
        self._registry = writes.registry
        self._warnings = warnings

    def evict(self, now: str) -> None:
        """Delete the Pods that do not tolerate a taint of their Node with the effect NoExecute."""
        names, self._writes.taints_due = self._writes.taints_due, set()
        nodes = [node for each in sorted(names) if (node := self._registry.node(each))]
        tainted = {each.metadata.name: each for each in nodes if evicts(each)}
        if not tainted:
            return
        for pod in self._registry.all(Pod):
            node = tainted.get(pod.spec.node_name)
            if node and repelling(pod, node, EVICTING) and not members.is_terminating(pod):
                self._writes.tell(pod_events.evicted(pod))
                self._writes.delete_pod(pod, now)

    def schedule(self) -> None:
        """Give Pods their Nodes; note why those that get none do not."""
        self._warnings.unscheduled = {}
        waiting = [
            pod
            for pod in self._registry.without_ip()
            if not members.is_terminating(pod) and not members.is_terminal(pod)
        ]
        for pod in waiting:
            if (name := pod.spec.node_name) and not self._registry.node(name):
                self._warnings.unscheduled[object_key(pod)] = (
                    f"spec.nodeName: Node {name!r} does not exist; it stays Pending"
                    " (a real cluster deletes such a Pod)"
                )
        homeless = [pod for pod in waiting if not pod.spec.node_name]
        if not homeless:
            return
        placed = [pod for pod in self._registry.all(Pod) if pod.spec.node_name]
        scheduler = Scheduler(self._registry.all(Node), placed, self._writes.elsewhere)
        for pod in homeless:
            if name := scheduler.place(pod):
                self._writes.write(replace(pod, spec=replace(pod.spec, node_name=name)))
                self._writes.tell(pod_events.scheduled(pod, name))
            else:
                self._warnings.unscheduled[object_key(pod)] = why = scheduler.why_not(pod)
                self._not_scheduled(pod, why)

    def _not_scheduled(self, pod: Pod, why: str) -> None:
        """Let a Pod's document tell why it has no Node."""
        if self._registry.set_unscheduled(object_key(pod), why):
            self._writes.tell(pod_events.failed_scheduling(pod, why))
