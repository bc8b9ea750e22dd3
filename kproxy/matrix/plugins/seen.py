"""Observations of load balancers with one network plugin, as values. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from msgspec import Struct


class Answers(Struct, frozen=True, kw_only=True):
    """Connections of one client to one address."""

    client: str
    by: tuple[tuple[str, str, int], ...]
    """Pod, source it saw, number of connections."""
    failed: tuple[tuple[str, int], ...] = ()
    """Failure, number of connections."""

    @property
    def pods(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for pod, _, count in self.by:
            found[pod] += count
        return found

    @property
    def sources(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for _, source, count in self.by:
            found[source] += count
        return found


class Inside(Struct, frozen=True, kw_only=True):
    """Connections of a client in the cluster to a load balancer, and a probe."""

    node: str
    """The client's node."""
    answers: Answers
    way: tuple[str, ...]
    """A clause for each translation of the probe."""
    rule: str
    """The rule that chose the pool of pods, if one was seen."""
    passed_balancer: bool
    """The probe passed the load balancer."""


class Observed(Struct, frozen=True, kw_only=True):
    """The observations for one network and policy."""

    policy: str
    nodes: tuple[str, ...]
    pods: Mapping[str, str]
    """Pod of the application -> its node."""
    hosts: Mapping[str, str]
    """Address -> the host that sends from it; a node has several."""
    backends: tuple[str, ...]
    """Names of nodes, or of pods."""
    plain: Answers
    weighted: Answers
    sticky: Mapping[str, tuple[Answers, ...]]
    """The answers that each client got, by Service."""
    inside: tuple[Inside, ...]
