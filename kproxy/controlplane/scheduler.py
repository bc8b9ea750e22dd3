"""The scheduler: chooses the Node that a Pod runs on.

Of the Nodes that a Pod may run on, it gets the one with the fewest Pods of its owner, then the one
in the zone with the fewest of them, then the one with the fewest Pods, then the first. Pods that
terminate or have ended do not count. kube-scheduler considers more than that, mostly requests of
resources; its default spread constraints have the same aim.
Source: k8s.io/kubernetes pkg/scheduler/framework/plugins (nodeaffinity, tainttoleration,
podtopologyspread) and framework/types.go (FitError), v1.36
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from kproxy.api.checks import ZONE_LABEL
from kproxy.api.types import Node, Pod
from kproxy.controlplane import members
from kproxy.controlplane.registry import owner_of
from kproxy.store import ObjectKey

_REPELLING = ("NoSchedule", "NoExecute")


class Scheduler:
    """Places Pods one after another beside those that have a Node already."""

    def __init__(self, nodes: Sequence[Node], pods: Iterable[Pod]) -> None:
        self._nodes = nodes
        self._zones = {each.metadata.name: each.metadata.labels.get(ZONE_LABEL) for each in nodes}
        self._pods: Counter[str] = Counter()  # by Node
        self._on_node: Counter[tuple[ObjectKey, str]] = Counter()
        self._in_zone: Counter[tuple[ObjectKey, str]] = Counter()
        for pod in pods:
            if not members.is_terminal(pod) and not members.is_terminating(pod):
                self._count(pod, pod.spec.node_name)

    def place(self, pod: Pod) -> str:
        """Return the name of the Pod's Node from now on; "" if it fits none."""
        found = [each for each in self._nodes if not _obstacle(pod, each)]
        if not found:
            return ""
        owner = owner_of(pod)

        def load(node: Node) -> tuple[int, int, int]:
            name = node.metadata.name
            zone = self._zones[name]
            return (
                self._on_node[owner, name] if owner else 0,
                self._in_zone[owner, zone] if owner and zone else 0,
                self._pods[name],
            )

        name = min(found, key=load).metadata.name
        self._count(pod, name)
        return name

    def why_not(self, pod: Pod) -> str:
        """Return why the Pod fits no Node, in kube-scheduler's words."""
        if not self._nodes:
            return "no nodes available to schedule pods"
        counts = Counter(filter(None, (_obstacle(pod, each) for each in self._nodes)))
        reasons = ", ".join(sorted(f"{count} {told}" for told, count in counts.items()))
        return f"0/{len(self._nodes)} nodes are available: {reasons}."

    def _count(self, pod: Pod, name: str) -> None:
        self._pods[name] += 1
        if owner := owner_of(pod):
            self._on_node[owner, name] += 1
            if zone := self._zones.get(name):
                self._in_zone[owner, zone] += 1


def _obstacle(pod: Pod, node: Node) -> str:
    if any(each.type == "Ready" and each.status != "True" for each in node.status.conditions):
        return "node(s) were not ready"
    for taint in node.spec.taints:
        if taint.effect in _REPELLING:
            return f"node(s) had untolerated taint(s) {{{taint.key}}}"
    if not pod.spec.node_selector.items() <= node.metadata.labels.items():
        return "node(s) didn't match Pod's node affinity/selector"
    return ""
