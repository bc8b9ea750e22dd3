"""The objects in the table that all service ports of a node need, and their changes. Pure.

Elements of shared sets and maps may be claimed by several service ports. All that depends on an
element (shared chains, endpoints by slot, others) belongs to the service port that has it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from kproxy.backend.claims import Claims
from kproxy.forwarding.plan import ServicePortName
from kproxy.kernel.nftables.objects import Set, data_value, element, interval, numbered_elements
from kproxy_nftables.frame import Chains
from kproxy_nftables.wanted import MEMBER, Balancer, Element, ElementKey, Wanted
from kproxy_nftables.words import slot_bytes


class Changes:
    """The steps of a sync. Elements are by set, in the form the kernel takes."""

    def __init__(self) -> None:
        self.sets: list[Set] = []
        self.chains: Chains = {}  # with all their rules
        self.new_chains: set[str] = set()  # the others were there with other rules
        self.balancers: list[Balancer] = []
        self.removed_elements: defaultdict[str, list[bytes]] = defaultdict(list)
        self.elements: defaultdict[str, list[bytes]] = defaultdict(list)
        self.led_elsewhere = False  # whether a former element has got other data
        self.unreachable_elements: defaultdict[str, list[bytes]] = defaultdict(list)  # to remove
        self.removed_chains: list[str] = []
        self.removed_sets: list[str] = []

    def __bool__(self) -> bool:
        return any(vars(self).values())


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
        self._changes = Changes()

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
                if chain not in former.chains:
                    self._changes.new_chains.add(chain)
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
        changes, self._changes = self._changes, Changes()
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
        stays = leads_on = False
        if before and after:
            stays, leads_on = True, before.data == after.data
            self._changes.led_elsewhere |= not leads_on
        before, after = before or MEMBER, after or MEMBER
        if before.others != after.others:
            self._replace_others(dict(before.others), dict(after.others), at_once=leads_on)
        if before.balanced != after.balanced:
            wanted = {balanced.key: balanced.endpoints for balanced in after.balanced}
            for balanced in before.balanced:
                wanted.setdefault(balanced.key, ())
            for each, endpoints in wanted.items():
                self._assign_slots(each, endpoints, at_once=not stays)
        if before.chains != after.chains:
            for chains, change in ((before.chains, -1), (after.chains, 1)):
                for chain in chains:
                    self._had_users.setdefault(chain, chain in self._users)
                    self._users[chain] += change

    def _replace_others(
        self, former: dict[ElementKey, bytes], fresh: dict[ElementKey, bytes], *, at_once: bool
    ) -> None:
        """Replace elements to which another one leads, at once if that one stays."""
        for other, data in former.items():
            if other not in fresh:
                self._delete(other, unreachable=not at_once)
            elif fresh[other] != data:
                self._delete(other)
                self._changes.led_elsewhere = True
        for other, data in fresh.items():
            if former.get(other) != data:
                self._add(other, data)

    def _assign_slots(self, key: ElementKey, wanted: tuple[bytes, ...], *, at_once: bool) -> None:
        """Keep the slots 0 to N-1 filled, moving as few endpoints as possible to another one.

        Those beyond are removed at once if the frontend goes as well.
        """
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
            gone = slot >= len(fresh)
            if gone or fresh[slot] != endpoint:
                self._delete(
                    ElementKey(key.set, key.key + slot_bytes(slot)),
                    unreachable=gone and not at_once,
                )
        for slot, endpoint in enumerate(fresh):
            if slot >= len(held) or held[slot] != endpoint:
                self._add(ElementKey(key.set, key.key + slot_bytes(slot)), data_value(endpoint))

    def _add(self, key: ElementKey, data: bytes, comment: str = "") -> None:
        packed = interval(key.key, key.last) if key.last else element(key.key, data, comment)
        self._changes.elements[key.set].append(packed)
        self.element_counts[key.set] += 1

    def _delete(self, key: ElementKey, *, unreachable: bool = False) -> None:
        packed = interval(key.key, key.last) if key.last else element(key.key)
        changes = self._changes
        by_set = changes.unreachable_elements if unreachable else changes.removed_elements
        by_set[key.set].append(packed)
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
