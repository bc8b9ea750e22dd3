"""The scheduler: chooses the Node that a Pod runs on.

Of the Nodes that a Pod may run on, it gets the one with the fewest Pods of its owner, then the one
in the zone with the fewest of them, then the one with the fewest Pods, then the first. Pods that
terminate or have ended do not count. A Node takes as many Pods as its status says, until they have
ended. kube-scheduler considers more than that, mostly requests of resources; its default spread
constraints have the same aim.
Source: k8s.io/kubernetes pkg/scheduler/framework/plugins (nodeaffinity, tainttoleration,
noderesources, podtopologyspread) and framework/types.go (FitError), v1.36
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from math import inf

from kproxy.api.checks import ZONE_LABEL
from kproxy.api.pod_parts import Toleration
from kproxy.api.quantities import milli_units
from kproxy.api.types import Node, Pod, Taint
from kproxy.controlplane import members
from kproxy.controlplane.registry import workload_of
from kproxy.store import ObjectKey, object_key

EVICTING = ("NoExecute",)
_REPELLING = ("NoSchedule", "NoExecute")
_UNSCHEDULABLE = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


class Scheduler:
    """Places Pods one after another beside those that have a Node already."""

    def __init__(
        self, nodes: Sequence[Node], pods: Iterable[Pod], elsewhere: Container[ObjectKey] = ()
    ) -> None:
        """Take all Nodes, and the Pods that have one. Those `elsewhere`, which other programs
        run, take no place of others.
        """
        self._nodes = nodes
        self._places = {each.metadata.name: _places(each) for each in nodes}  # that are free
        self._zones = {each.metadata.name: each.metadata.labels.get(ZONE_LABEL) for each in nodes}
        self._pods: Counter[str] = Counter()  # by Node
        self._on_node: Counter[tuple[ObjectKey, str]] = Counter()
        self._in_zone: Counter[tuple[ObjectKey, str]] = Counter()
        for pod in pods:
            if members.is_terminal(pod):
                continue
            if object_key(pod) not in elsewhere:
                self._take_place(pod.spec.node_name)
            if not members.is_terminating(pod):
                self._count(pod, pod.spec.node_name)

    def place(self, pod: Pod) -> str:
        """Return the name of the Pod's Node from now on; "" if it fits none."""
        found = [each for each in self._nodes if not self._obstacle(pod, each)]
        if not found:
            return ""
        owner = workload_of(pod)

        def load(node: Node) -> tuple[int, int, int]:
            name = node.metadata.name
            zone = self._zones[name]
            return (
                self._on_node[owner, name] if owner else 0,
                self._in_zone[owner, zone] if owner and zone else 0,
                self._pods[name],
            )

        name = min(found, key=load).metadata.name
        self._take_place(name)
        self._count(pod, name)
        return name

    def why_not(self, pod: Pod) -> str:
        """Return why the Pod fits no Node, in kube-scheduler's words."""
        if not self._nodes:
            return "no nodes available to schedule pods"
        counts = Counter(filter(None, (self._obstacle(pod, each) for each in self._nodes)))
        reasons = ", ".join(sorted(f"{count} {told}" for told, count in counts.items()))
        return f"0/{len(self._nodes)} nodes are available: {reasons}."

    def _obstacle(self, pod: Pod, node: Node) -> str:
        if why := _obstacle(pod, node):
            return why
        return "" if self._places[node.metadata.name] > 0 else "Too many pods"

    def _take_place(self, name: str) -> None:
        if name in self._places:
            self._places[name] -= 1

    def _count(self, pod: Pod, name: str) -> None:
        self._pods[name] += 1
        if owner := workload_of(pod):
            self._on_node[owner, name] += 1
            if zone := self._zones.get(name):
                self._in_zone[owner, zone] += 1


def admits(pod: Pod, node: Node) -> bool:
    """Tell whether the Pod may run on the Node, which need not be ready."""
    return not (_repelled(pod, node) or _mismatch(pod, node))


def repelling(pod: Pod, node: Node, effects: Sequence[str] = _REPELLING) -> list[Taint]:
    """Return the Node's taints of these effects that the Pod does not tolerate."""
    return [
        each
        for each in node.spec.taints
        if each.effect in effects and not any(_tolerates(one, each) for one in pod.spec.tolerations)
    ]


def evicts(node: Node) -> bool:
    """Tell whether the Node has a taint for which Pods have to leave it."""
    return any(each.effect in EVICTING for each in node.spec.taints)


def _places(node: Node) -> float:
    """Return how many Pods a Node takes."""
    pods = milli_units(node.status.allocatable.pods)
    return inf if pods is None else pods // 1000


def _obstacle(pod: Pod, node: Node) -> str:
    if any(each.type == "Ready" and each.status != "True" for each in node.status.conditions):
        return "node(s) were not ready"
    return _repelled(pod, node) or _mismatch(pod, node)


def _repelled(pod: Pod, node: Node) -> str:
    if node.spec.unschedulable and not any(
        _tolerates(each, _UNSCHEDULABLE) for each in pod.spec.tolerations
    ):
        return "node(s) were unschedulable"
    if taints := repelling(pod, node):
        value = f": {taints[0].value}" if taints[0].value else ""
        return f"node(s) had untolerated taint(s) {{{taints[0].key}{value}}}"
    return ""


def _mismatch(pod: Pod, node: Node) -> str:
    if not pod.spec.node_selector.items() <= node.metadata.labels.items():
        return "node(s) didn't match Pod's node affinity/selector"
    return ""


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect not in ("", taint.effect):
        return False
    if toleration.operator == "Exists":
        return toleration.key in ("", taint.key)
    return (toleration.key, toleration.value) == (taint.key, taint.value)
