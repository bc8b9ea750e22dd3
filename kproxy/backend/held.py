"""Objects that are no longer needed, and that other programs hold on to.

The kernel deletes nothing that anything refers to. So what is to be removed must not share a
transaction with what is to be in force: what cannot be removed is emptied, stays, is named in the
log once, with who holds it, and is tried again from time to time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

RETRY_S = 60.0  # until the next attempt; until then the object is empty and harms nobody

log = logging.getLogger("kproxy")


class Held:
    """The objects of one backend that could not be removed when that was last tried.

    `label` begins messages. An object that is needed again is remembered: when it is no longer
    needed again, it is better not to attempt its removal together with anything else.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._why: dict[str, str] = {}  # also of objects that are needed again
        self._unneeded: set[str] = set()
        self._retry_at = float("inf")

    @property
    def names(self) -> frozenset[str]:
        """Return the names of the objects that stay without being needed."""
        return frozenset(self._unneeded)

    def knows(self, name: str) -> bool:
        """Tell whether the object was held when its removal was last tried."""
        return name in self._why

    def needed(self, names: Iterable[str]) -> None:
        """Note that these are in use again: they are not to be removed."""
        self._unneeded.difference_update(names)

    def unneeded(self, names: Iterable[str]) -> None:
        """Note that these, which `knows` knows, are empty and to be removed as soon as possible."""
        self._unneeded.update(names)

    def tried(self, names: Iterable[str], failures: Mapping[str, str], now: float) -> None:
        """Note the result of trying to remove these: for each failure who holds the object."""
        for name in sorted(names):
            if name in failures:
                self._hold(name, failures[name])
            elif self._why.pop(name, None) is not None:
                self._unneeded.discard(name)
                log.info("%s: %s is removed, nothing holds it any more", self._label, name)
        self._retry_at = now + RETRY_S if self._unneeded else float("inf")

    def is_due(self, now: float) -> bool:
        return bool(self._unneeded) and now >= self._retry_at

    def again_in_s(self, now: float) -> float:
        """Return the seconds until the next attempt is due, 0 for never (see `SyncReport`)."""
        if not self._unneeded:
            return 0
        self._retry_at = min(self._retry_at, now + RETRY_S)
        return max(self._retry_at - now, 0.001)

    def _hold(self, name: str, why: str) -> None:
        known = self._why.get(name)
        self._why[name] = why
        self._unneeded.add(name)
        if known != why:
            log.warning(
                "%s: %s cannot be removed yet: %s; it stays, empty; next try after %.0f s",
                self._label,
                name,
                why,
                RETRY_S,
            )
