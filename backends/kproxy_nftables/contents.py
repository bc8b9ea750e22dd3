"""The objects in the table that all service ports of a node need, and their changes. Pure.

Elements of shared sets and maps may be claimed by several service ports. All that depends on an
element (shared chains, endpoints by slot, others) belongs to the service port that has it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from kproxy.backend.claims import Claims
from kproxy.forwarding.plan import ServicePortName
from kproxy.kernel.nftables.objects import Set, data_value, element, interval, numbered_elements
from kproxy_nftables.frame import Chains
from kproxy_nftables.wanted import MEMBER, Balancer, Element, ElementKey, Wanted
from kproxy_nftables.words import slot_bytes


class Changes(NamedTuple):
    """The steps of a transaction. Elements are by set, in the form the kernel takes."""

    sets: list[Set]
    chains: Chains  # with all their rules; the kernel may have some of them with other rules
    balancers: list[Balancer]
    removed_elements: dict[str, list[bytes]]
    elements: dict[str, list[bytes]]
    removed_chains: list[str]
    removed_sets: list[str]

    def __bool__(self) -> bool:
        return any(self)


class Contents:
    """The objects of all service ports.

    `rule_counts`: rules in the chains of service ports. `element_counts`: elements by set.
    """

    def __init__(self) -> None:
        self.rule_counts: dict[str, int] = {}
        self.affinity_sets: set[str] = set()
        self.element_counts: Counter[str] = Counter()
        self._claims: Claims[ElementKey, Element] = Claims()
        self._slots: dict[ElementKey, tuple[bytes, ...]] = {}  # map, frontend -> endpoints by slot
        self._users: Counter[Balancer] = Counter()
        self._had_users: dict[Balancer, bool] = {}  # of those whose users have changed
        self._changes = _no_changes()

    @property
    def balancers(self) -> Iterable[Balancer]:
        return self._users.keys()

    def change(self, name: ServicePortName, former: Wanted, fresh: Wanted) -> None:
        """Replace what one service port needs. `former` must be its last `fresh`.

        To be called at most once for each between two calls of `take_changes`.
        """
        self._claims.change(name, former.elements, fresh.elements)
        for chain, rules in fresh.chains.items():
            if former.chains.get(chain) != rules:
                self._changes.chains[chain] = rules
                self.rule_counts[chain] = len(rules)
        for chain in former.chains:
            if chain not in fresh.chains:
                self._changes.removed_chains.append(chain)
                del self.rule_counts[chain]
        for set_name, set_ in fresh.sets.items():
            if former.sets.get(set_name) != set_:
                self._changes.sets.append(set_)
                self.affinity_sets.add(set_name)
        for set_name in former.sets.keys() - fresh.sets.keys():
            self._changes.removed_sets.append(set_name)
            self.affinity_sets.remove(set_name)

    def take_changes(self) -> Changes:
        """Return the net effect of all changes since the last call."""
        for change in self._claims.take_changes():
            self._replace(change.key, change.before, change.after)
        changes, self._changes = self._changes, _no_changes()
        for chain, had_users in self._had_users.items():
            if not self._users[chain]:
                del self._users[chain]
                if had_users:
                    changes.removed_chains.append(chain.name)
            elif not had_users:
                changes.balancers.append(chain)
        self._had_users.clear()
        return changes

    def _replace(self, key: ElementKey, before: Element | None, after: Element | None) -> None:
        if before is None and after is MEMBER:  # true of most elements
            self._add(key, b"", "")
            return
        if not (before and after) or (before.data, before.comment) != (after.data, after.comment):
            if before:
                self._delete(key)
            if after:
                self._add(key, after.data, after.comment)
        before, after = before or MEMBER, after or MEMBER
        if before.others != after.others:
            former, fresh = dict(before.others), dict(after.others)
            for other, data in former.items():
                if fresh.get(other) != data:
                    self._delete(other)
            for other, data in fresh.items():
                if former.get(other) != data:
                    self._add(other, data)
        if before.balanced != after.balanced:
            wanted = {balanced.key: balanced.endpoints for balanced in after.balanced}
            for balanced in before.balanced:
                wanted.setdefault(balanced.key, ())
            for each, endpoints in wanted.items():
                self._assign_slots(each, endpoints)
        if before.chains != after.chains:
            for chains, change in ((before.chains, -1), (after.chains, 1)):
                for chain in chains:
                    self._had_users.setdefault(chain, chain in self._users)
                    self._users[chain] += change

    def _assign_slots(self, key: ElementKey, wanted: tuple[bytes, ...]) -> None:
        """Keep the slots 0 to N-1 filled, moving as few endpoints as possible to another one."""
        held = self._slots.pop(key, ())
        if not held:
            if wanted:
                self._slots[key] = wanted
                self._changes.elements[key.set] += numbered_elements(key.key, wanted)
                self.element_counts[key.set] += len(wanted)
            return
        fresh = arranged(held, wanted)
        if fresh:
            self._slots[key] = fresh
        for slot, endpoint in enumerate(held):
            if slot >= len(fresh) or fresh[slot] != endpoint:
                self._delete(ElementKey(key.set, key.key + slot_bytes(slot)))
        for slot, endpoint in enumerate(fresh):
            if slot >= len(held) or held[slot] != endpoint:
                self._add(ElementKey(key.set, key.key + slot_bytes(slot)), data_value(endpoint))

    def _add(self, key: ElementKey, data: bytes, comment: str = "") -> None:
        packed = interval(key.key, key.last) if key.last else element(key.key, data, comment)
        self._changes.elements[key.set].append(packed)
        self.element_counts[key.set] += 1

    def _delete(self, key: ElementKey) -> None:
        packed = interval(key.key, key.last) if key.last else element(key.key)
        self._changes.removed_elements[key.set].append(packed)
        self.element_counts[key.set] -= 1


def arranged(held: tuple[bytes, ...], wanted: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return `wanted` in an order that keeps as many as possible at their place in `held`."""
    staying, known = set(wanted), set(held)
    places = [endpoint if endpoint in staying else None for endpoint in held]
    newcomers = [endpoint for endpoint in wanted if endpoint not in known]
    for place, present in enumerate(places):
        if present is None and newcomers:
            places[place] = newcomers.pop()
    places += newcomers
    while None in places:  # the last one moves into the gap
        last = places.pop()
        if last is not None:
            places[places.index(None)] = last
    return tuple(endpoint for endpoint in places if endpoint is not None)


def _no_changes() -> Changes:
    return Changes([], {}, [], defaultdict(list), defaultdict(list), [], [])
