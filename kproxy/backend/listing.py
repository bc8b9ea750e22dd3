"""The rules of a mode, rendered or read, and those of one Service in the order packets meet them.

A mode gives the latter by `Mode.service_rules`, which is pure: it takes a `Listing` from anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from msgspec import Struct

from kproxy.address import Family
from kproxy.backend.contract import Backend, Ruleset
from kproxy.forwarding.plan import Frontend, ServicePlan


class ListedRule(NamedTuple):
    """A rule as the kernel's own tool prints it. `packets`: those it has counted; None if it
    counts none, or was not read.
    """

    text: str
    packets: int | None = None


Listing = Mapping[str, Mapping[str, tuple[ListedRule, ...]]]
"""table -> chain -> rules in order: a `Ruleset` with counters."""


@runtime_checkable
class Lister(Protocol):
    """The method of a backend whose rules count packets."""

    def listing(self) -> Listing:
        """Return what `Backend.read` does, with what each rule has counted so far."""
        ...


class Sought(Struct, frozen=True, kw_only=True):
    """A Service whose rules are asked for, in one family.

    `plans`: its service ports, which may be none in this family; None if only its name is known,
    and not its objects. `port`: the name or number of one of them; "" for all.
    """

    family: Family
    namespace: str
    name: str
    port: str = ""
    plans: tuple[ServicePlan, ...] | None = None

    def is_named(self, text: str) -> bool:
        """Tell whether text is the `namespace/name[:port]` of one of its service ports."""
        service, _, port = text.partition(":")
        if service != f"{self.namespace}/{self.name}":
            return False
        if self.plans is not None:
            return any(text == str(plan.name) for plan in self.plans)
        return not self.port or self.port == port

    def frontends(self) -> list[tuple[ServicePlan, Frontend]]:
        """Return the frontends of all service ports."""
        return [(plan, frontend) for plan in self.plans or () for frontend in plan.frontends]


class RuleLine(Struct, frozen=True, kw_only=True):
    """One rule on the way of a Service's packets, indented by `depth`: how many jumps lead to it.

    An element of a map or set is a rule, too; its `chain` is the map, as the mode calls it.
    """

    table: str
    chain: str
    depth: int
    rule: str
    purpose: str
    packets: int | None = None


ServiceRules = Callable[[Listing, Sought], Sequence[RuleLine]]


class Purpose(NamedTuple):
    """A short sentence for a kind of rule: patterns that its chain and its text have to match."""

    chain: str
    rule: str
    text: str


def purposes(table: Iterable[Purpose]) -> Callable[[str, str], str]:
    """Return the function from chain and rule to the first purpose that fits, "" without one.

    The chain's pattern is for all of its name, the rule's for any part of it.
    """
    compiled = [(re.compile(each.chain), re.compile(each.rule), each.text) for each in table]

    def purpose(chain: str, rule: str) -> str:
        return next(
            (text for of, how, text in compiled if of.fullmatch(chain) and how.search(rule)), ""
        )

    return purpose


def listing_of(backend: Backend) -> Listing:
    """Return the rules there are now, with counters where the backend has some.

    Raises what `Backend.read` raises.
    """
    return backend.listing() if isinstance(backend, Lister) else uncounted(backend.read())


def uncounted(ruleset: Ruleset) -> Listing:
    """Return a ruleset as a listing without counters."""
    return {
        table: {chain: tuple(map(ListedRule, rules)) for chain, rules in chains.items()}
        for table, chains in ruleset.items()
    }


def texts(listing: Listing) -> Ruleset:
    """Return a listing without its counters."""
    return {
        table: {chain: tuple(rule.text for rule in rules) for chain, rules in chains.items()}
        for table, chains in listing.items()
    }
