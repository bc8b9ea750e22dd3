"""What is observed of load balancers with one network plugin, as values. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from msgspec import Struct


class Answers(Struct, frozen=True, kw_only=True):
    """Connections of one client to one address.

    `by`: pod, source it saw, how often. `failed`: how, how often.
    """

    client: str
    by: tuple[tuple[str, str, int], ...]
    failed: tuple[tuple[str, int], ...] = ()

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
    """A client in the cluster asks a load balancer. `node`: where it is.

    `way`: what was done to a probe on its way, a clause for each translation. `rule`: the one that
    chose among which pods, if one was seen. `passed_balancer`: the probe passed it.
    """

    node: str
    answers: Answers
    way: tuple[str, ...]
    rule: str
    passed_balancer: bool


class Observed(Struct, frozen=True, kw_only=True):
    """What was seen of one network and policy.

    `pods`: pod of the application -> its node. `hosts`: address -> name of whose it is; a node's
    are all that it may send from. `backends`: names of nodes, or of pods. `sticky`: by Service,
    the answers that each client got.
    """

    policy: str
    nodes: tuple[str, ...]
    pods: Mapping[str, str]
    hosts: Mapping[str, str]
    backends: tuple[str, ...]
    plain: Answers
    weighted: Answers
    sticky: Mapping[str, tuple[Answers, ...]]
    inside: tuple[Inside, ...]
