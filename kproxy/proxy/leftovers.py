"""Removes what other modes left on a node, or this one in another variant of iptables.

It is removed once the rules of this mode are in force. For a moment both are, so no connection
sees a gap. kube-proxy v1.36 removes leftovers before its first sync, and none between iptables and
ipvs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from kproxy.address import Family
from kproxy.backend import (
    Backend,
    BackendOptions,
    Mode,
    Predecessor,
    Uses,
    complete_options,
    sound_modes,
)
from kproxy.config import ProxyConfig
from kproxy.errors import BackendFault, KernelRefused, KproxyError
from kproxy.proxy.node_proxy import NodeProxy
from kproxy.proxy.setup import close, remove_in_turn

log = logging.getLogger("kproxy")
LOOK_AGAIN_S = 60.0  # until the next check whether open connections have ended


class _Leftover(NamedTuple):
    """The leftover of one mode in one family.

    `remove` removes it, and tells whether open connections still need any of it.
    """

    mode: str
    family: Family
    remove: Callable[[], bool]

    def __str__(self) -> str:
        return f"{self.mode} {self.family.value}"


class Leftovers:
    """The leftovers of other modes in the families that a proxy serves.

    They are in the namespace of the calling thread.
    """

    def __init__(
        self,
        proxy: NodeProxy,
        backends: Mapping[Family, Backend],
        config: ProxyConfig,
        options: BackendOptions,
    ) -> None:
        """`options` are those of the mode in force, complete."""
        self._proxy = proxy
        self._backends = backends
        self._config = config
        self._options = options
        self._opened: list[Backend] = []
        self._pending: list[_Leftover] | None = None  # None: not looked for yet

    def remove(self) -> float:
        """Remove leftovers; call it when all families are synced. Looks for them only once.

        Returns the seconds after which to call again, because open connections still need some of
        it; 0 if nothing is left. Raises KernelRefused after trying each one; call it again then.
        """
        first = self._pending is None
        if self._pending is None:
            self._pending = self._find()
        needed: set[_Leftover] = set()

        def remove(leftover: _Leftover) -> None:
            if leftover.remove():
                needed.add(leftover)

        failures = remove_in_turn({str(each): partial(remove, each) for each in self._pending})
        before = dict.fromkeys(each.mode for each in self._pending)
        self._pending = [each for each in self._pending if str(each) in failures or each in needed]
        left = {each.mode for each in self._pending}
        for mode in before:
            if mode not in left:
                log.info("removed what %s mode had left", mode)
            elif first and mode in {each.mode for each in needed}:
                log.info("open connections keep a part of what %s mode had left", mode)
        if failures:
            raise KernelRefused("\n".join(f"{name}: {error}" for name, error in failures.items()))
        return LOOK_AGAIN_S if needed else 0

    def close(self) -> None:
        """Close the backends that were made to look for leftovers."""
        for backend in self._opened:
            close(backend)
        self._opened.clear()

    def _find(self) -> list[_Leftover]:
        """Return the leftovers. Those of a faulty backend are unknown, so they are left alone."""
        found = []
        for mode in sound_modes():
            try:
                found += self._left_by(mode)
            except BackendFault as fault:
                log.warning("%s; what it may have left here is left alone", fault)
        return found

    def _left_by(self, mode: Mode) -> list[_Leftover]:
        own = self._options if mode.name == self._proxy.mode else mode.options()
        options = complete_options(mode, self._config, own)
        found = []
        for family, successor in self._backends.items():
            backend = mode.backend(family, options)
            self._opened.append(backend)
            try:
                remove = self._remover(mode.name, backend, successor)
            except BackendFault:
                raise
            except (KproxyError, OSError) as error:
                log.debug("%s %s: cannot look for leftovers: %s", mode.name, family.value, error)
                continue
            if remove:
                found.append(_Leftover(mode.name, family, remove))
        return found

    def _remover(
        self, mode: str, predecessor: Backend, successor: Backend
    ) -> Callable[[], bool] | None:
        """Return a function that removes what a mode left; None if it left nothing."""
        if isinstance(successor, Predecessor):
            uses = successor.uses()
        elif mode == self._proxy.mode:
            return None
        else:
            uses = Uses(mode=self._proxy.mode)
        if isinstance(predecessor, Predecessor):
            if not predecessor.has_left(uses):
                return None
            return partial(predecessor.leave, uses)
        return partial(_clean, predecessor) if any(predecessor.read().values()) else None


def _clean(predecessor: Backend) -> bool:
    predecessor.cleanup()
    return False
