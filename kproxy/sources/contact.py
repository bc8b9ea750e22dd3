"""Says in the log when an API server cannot be read, for how long, and when it can be again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_REMIND_S = 60.0

log = logging.getLogger("kproxy")


class Contact:
    """The contact to one API server, of several threads that read from it."""

    def __init__(self, url: Callable[[], str], clock: Callable[[], float]) -> None:
        """`url` returns where it is: another kubeconfig may name another one."""
        self._url = url
        self._clock = clock
        self._lock = threading.Lock()  # protects the rest
        self._problems: dict[str, str] = {}  # by collection
        self._since: float | None = None
        self._said: dict[str, str] = {}
        self._remind_at = float("inf")

    @property
    def away_s(self) -> float:
        """Return for how long something could not be read, in seconds; 0 if all can be."""
        since = self._since
        return 0.0 if since is None else self._clock() - since

    def note(self, collection: str, problem: str) -> None:
        """Note how the last request for a collection went. `problem`: "" if it went well."""
        with self._lock:
            if problem:
                self._problems[collection] = problem
                if self._since is None:
                    self._since = self._clock()
                    self._remind_at = self._since + _REMIND_S
                if problem not in self._said.values():
                    self._said[collection] = problem
                    log.warning(
                        "cannot read %s of %s, the rules stay in force: %s",
                        collection,
                        self._url(),
                        problem,
                    )
            elif self._problems.pop(collection, None) and not self._problems:
                away_s, self._since = self.away_s, None
                self._said.clear()
                self._remind_at = float("inf")
                log.info("%s can be read again, after %.1f s", self._url(), away_s)

    def remind(self) -> float:
        """Say that the API server is still away, if it is time. Returns the seconds until the next
        call is due.
        """
        with self._lock:
            now = self._clock()
            if now >= self._remind_at:
                self._remind_at = now + _REMIND_S
                log.warning(
                    "%s has been away for %.0f s, the rules stay in force: %s",
                    self._url(),
                    self.away_s,
                    "; ".join(dict.fromkeys(self._problems.values())),
                )
            return _REMIND_S
