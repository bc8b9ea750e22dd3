"""The choice of an endpoint for a client. Pure: the random source and the time are arguments."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from kproxy.forwarding.plan import Endpoint

_FEWEST = 1000  # clients that are remembered before the first search for those to forget


class Chooser:
    """The choices for one service port, remembered for all its frontends.

    With one and the same text for all clients, they have the same endpoint.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._chosen: dict[str, tuple[Endpoint, float]] = {}  # by client, with the time
        self._forget_at = _FEWEST

    def choose(
        self, endpoints: Sequence[Endpoint], client: str, timeout_s: float, now: float
    ) -> Endpoint:
        """Return one of `endpoints`, at least one, for a new connection from the address `client`.

        It is the endpoint of the client's last connection if that is at most `timeout_s` ago; 0
        means no session affinity.
        """
        if not timeout_s:
            return self._random.choice(endpoints)
        endpoint = self._random.choice(endpoints)
        if client in self._chosen:
            former, at = self._chosen[client]
            if former in endpoints and now - at <= timeout_s:
                endpoint = former
        self._chosen[client] = (endpoint, now)
        if len(self._chosen) >= self._forget_at:
            self._forget(now - timeout_s)
        return endpoint

    def _forget(self, before: float) -> None:
        """Forget clients last seen before a time. The next call is at twice as many as remain."""
        self._chosen = {client: each for client, each in self._chosen.items() if each[1] >= before}
        self._forget_at = max(_FEWEST, 2 * len(self._chosen))
