"""The way of a Service's packets through chains of iptables, for modes that write some. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from kproxy.backend.listing import ListedRule, Listing, RuleLine
from kproxy.kernel.iptables_save import Table, is_kube_rule
from kproxy.kernel.leading import target

AGAIN = "as above"


class Owns(Protocol):
    """Tells whether a rule is for the Service: True, False for another one's, None for all."""

    def __call__(self, table: str, chain: str, rule: str, /) -> bool | None: ...


def _nothing(_rule: str, _depth: int) -> Iterable[RuleLine]:
    return ()


class SavedWalk:
    """Follows jumps from the built-in chains. A chain that several rules lead to is shown once."""

    def __init__(
        self,
        listing: Listing,
        is_ours: Callable[[str], bool],
        owns: Owns,
        purpose: Callable[[str, str], str],
        beneath: Callable[[str, int], Iterable[RuleLine]] = _nothing,
    ) -> None:
        """`is_ours` tells whether the mode writes chains of this name: all else is foreign.
        `beneath` gives what a rule looks up, to be shown below it at that depth.
        """
        self._listing = listing
        self._is_ours = is_ours
        self._owns = owns
        self._purpose = purpose
        self._beneath = beneath
        self._shown: dict[tuple[str, str], bool] = {}  # whether a chain has any rule to show

    def through(self, table: Table, chain: str, depth: int = 0) -> Iterator[RuleLine]:
        """Yield the rules that a packet of the Service meets in a chain and beneath it."""
        self._shown[table, chain] = False
        for rule in self._listing.get(table, {}).get(chain, ()):
            owned = self._owns(table, chain, rule.text)
            leads_to = target(rule.text)
            ours = self._is_ours(leads_to)
            if owned is False or not (ours or self._is_ours(chain)):
                continue
            purpose = self._purpose(chain, rule.text)
            below: list[RuleLine] = []
            if ours and (table, leads_to) in self._shown:
                if not (self._shown[table, leads_to] or owned):
                    continue
                purpose = f"{purpose} ({AGAIN})" if self._shown[table, leads_to] else purpose
            elif ours:
                below = [*self.through(table, leads_to, depth + 1)]
                if not (below or owned):
                    continue
            self._shown[table, chain] = True
            yield RuleLine(
                table=table,
                chain=chain,
                depth=depth,
                rule=rule.text,
                purpose=purpose,
                packets=rule.packets,
            )
            yield from self._beneath(rule.text, depth + 1)
            yield from below


def counted_listing(
    tables: Mapping[Table, Mapping[str, Iterable[tuple[str, int | None]]]],
) -> dict[str, dict[str, tuple[ListedRule, ...]]]:
    """Return the rules of tables that are kube-proxy's, as `iptables_save.kube_chains` would."""
    found = {
        table: {
            chain: tuple(ListedRule(*rule) for rule in rules if is_kube_rule(chain, rule[0]))
            for chain, rules in chains.items()
        }
        for table, chains in tables.items()
    }
    return {
        table: {
            chain: rules for chain, rules in chains.items() if rules or chain.startswith("KUBE-")
        }
        for table, chains in found.items()
    }
