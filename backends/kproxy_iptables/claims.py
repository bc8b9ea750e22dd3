"""Which service ports claim the same address: the first by name is to win, in the order of rules.

An edit puts the rules of a changed service port ahead of all others. Where that would matter, the
dispatch chains are written in order instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from kproxy.forwarding.plan import FrontendKind, ServicePlan, ServicePortName
from kproxy_iptables.rules import Context, dispatch_rules


class Claims:
    """How many service ports claim each protocol, address and port, node ports aside."""

    def __init__(self, services: Iterable[ServicePlan]) -> None:
        self._counts = Counter(key for each in services for key in _addresses(each))

    def follow(
        self,
        services: Mapping[ServicePortName, ServicePlan],
        before: Mapping[ServicePortName, ServicePlan | None],
    ) -> None:
        """Count the present plans of changed service ports instead of their former ones."""
        for name, former in before.items():
            if former:
                self._counts.subtract(_addresses(former))
            if fresh := services.get(name):
                self._counts.update(_addresses(fresh))
            for key in _addresses(former) if former else ():
                if not self._counts[key]:
                    del self._counts[key]

    def are_contested(
        self,
        services: Mapping[ServicePortName, ServicePlan],
        before: Mapping[ServicePortName, ServicePlan | None],
        context: Context,
    ) -> bool:
        """Tell whether an edit would put rules ahead of another service port's for an address."""
        return any(
            self._counts[key] > 1
            for name, former in before.items()
            if (fresh := services.get(name))
            and (not former or dispatch_rules(former, context) != dispatch_rules(fresh, context))
            for key in _addresses(fresh)
        )


def _addresses(service: ServicePlan) -> Iterator[tuple[str, str, int]]:
    for each in service.frontends:
        if each.kind is not FrontendKind.NODE_PORT:
            yield service.protocol, each.address, each.port
