"""The ipsets of one family: created, and replaced where the name belongs to a set of another shape.

A set of another type, family or parameters may be there: an older proxy's, or one that somebody has
made. If nothing uses it, it is destroyed and made anew. If rules use it and its type is right, it
changes names with a new one, in rules, too. Else a spare set, under another name, serves in its
place: the rules that are written with it may be those that used the old one, which can be replaced
then. What rules of others still use is kept, empty, and named in the log.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Set

from kproxy.address import Family
from kproxy.backend.held import Held
from kproxy.errors import KernelRefused
from kproxy.kernel import ipset
from kproxy.kernel.ipset_attributes import Shape
from kproxy_ipvs.holders import holders
from kproxy_ipvs.names import SETS, set_name, shape_of, spare_name
from kproxy_ipvs.wanted import Entry

# What does not change which packets a set matches, or for how long.
_HARMLESS = ("hashsize", "bucketsize", "initval", "counters", "comment", "skbinfo")


def suits(family: Family, suffix: str, shape: Shape) -> bool:
    """Tell whether a set of this shape can be used as it is. One with more room can."""
    wanted = shape_of(family, suffix)
    present, needed = _that_matter(shape), _that_matter(wanted)
    if "maxelem" in needed:
        needed["maxelem"] = max(needed["maxelem"], present.get("maxelem", 0))
    family_fits = wanted.family in (None, shape.family)
    return family_fits and (shape.type, present) == (wanted.type, needed)


def _that_matter(shape: Shape) -> dict[str, int]:
    return {name: value for name, value in shape.parameters.items() if name not in _HARMLESS}


class Sets:
    """`names`: the name of each set by suffix, that of the spare one where it is in use."""

    def __init__(self, family: Family, held: Held) -> None:
        """`held` is told of sets that cannot be replaced yet."""
        self._family = family
        self._held = held
        self._own = {suffix: set_name(family, suffix) for suffix in SETS}
        self.names = dict(self._own)

    def take_over(self, wanted: Set[Entry]) -> set[Entry]:
        """Create or replace the sets, and return the entries that they have. Rules come next."""
        spares = {suffix: spare_name(self._family, suffix) for suffix in SETS}
        saved = ipset.save()
        self.names = dict(self._own)
        misfits = [
            suffix
            for suffix, name in self._own.items()
            if name in saved and not suits(self._family, suffix, saved[name].shape)
        ]
        in_use = ipset.destroy(self._own[suffix] for suffix in misfits)
        replaced = [suffix for suffix in misfits if self._own[suffix] not in in_use]
        missing = [suffix for suffix, name in self._own.items() if name not in saved]
        self._create(*missing, *replaced)
        for suffix in replaced:
            del saved[self._own[suffix]]
        for suffix in misfits:
            if suffix not in replaced:
                self._stand_in(suffix, spares[suffix], wanted, saved)
        proper = [f"ipset {name}" for name in self._own.values() if name in self.names.values()]
        self._held.tried(proper, {}, time.monotonic())
        return {
            Entry(suffix, text)
            for suffix, name in self.names.items()
            if name in saved
            for text in saved[name].entries
        }

    def settle(self, wanted: Set[Entry]) -> bool:
        """Replace the sets that spare ones stand in for, as far as no rule uses them any more.

        Tell whether any was replaced: then all rules have to be written again.
        """
        substituted = [suffix for suffix, name in self._own.items() if self.names[suffix] != name]
        if not substituted:
            return False
        names = [self._own[suffix] for suffix in substituted]
        refused = ipset.destroy(names)
        ipset.flush(refused)
        known = holders(refused)
        failures = {
            f"ipset {name}": f"it is not of the type {SETS[suffix].type} that is needed, and"
            f" {known.get(name, reason)}; {self.names[suffix]} is used instead"
            for suffix in substituted
            for name in [self._own[suffix]]
            if (reason := refused.get(name))
        }
        self._held.tried([f"ipset {name}" for name in names], failures, time.monotonic())
        freed = [suffix for suffix in substituted if self._own[suffix] not in refused]
        self._create(*freed)
        for suffix in freed:
            self.names[suffix] = self._own[suffix]
        ipset.edit(self.texts(entry for entry in wanted if entry.set in freed), ())
        return bool(freed)

    def destroy_spares(self) -> None:
        """Destroy the spare sets that are not used, because rules use the proper ones again."""
        spares = {spare_name(self._family, suffix) for suffix in SETS}
        ipset.destroy((spares & ipset.sizes().keys()) - set(self.names.values()))

    def texts(self, entries: Iterable[Entry]) -> list[tuple[str, str]]:
        """Return the names of the entries' sets, and what ipset calls the entries."""
        return [(self.names[entry.set], entry.text) for entry in entries]

    def in_rules(self, lines: Iterable[str]) -> list[str]:
        """Return rules with the names of the sets in use."""
        substitutes = {
            name: self.names[suffix]
            for suffix, name in self._own.items()
            if self.names[suffix] != name
        }
        if not substitutes:
            return list(lines)
        return [
            re.sub(
                r"(?<=--match-set )\S+",
                lambda found: substitutes.get(found[0], found[0]),
                line,
            )
            for line in lines
        ]

    def _stand_in(
        self, suffix: str, spare: str, wanted: Set[Entry], saved: dict[str, ipset.SavedSet]
    ) -> None:
        """Have a spare set serve instead of one that is in use, under its name if possible."""
        name = self._own[suffix]
        if spare in saved and not suits(self._family, suffix, saved[spare].shape):
            ipset.destroy([spare])
            del saved[spare]
        shape = shape_of(self._family, suffix)
        ipset.create([(spare, shape)])
        entries = frozenset(entry.text for entry in wanted if entry.set == suffix)
        ipset.edit([(spare, text) for text in entries], ())
        present = saved[spare].entries if spare in saved else frozenset()
        ipset.edit((), [(spare, text) for text in present - entries])
        try:
            ipset.swap(name, spare)
            ipset.destroy([spare])
        except KernelRefused:
            self.names[suffix] = name = spare
        saved[name] = ipset.SavedSet(shape, entries)

    def _create(self, *suffixes: str) -> None:
        ipset.create((self._own[each], shape_of(self._family, each)) for each in suffixes)
