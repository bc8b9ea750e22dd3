"""Keys that several service ports may claim, each with one value at a time. Pure.

Two Services may name one external IP, two ports one cluster IP or one endpoint. The first by name
wins; in kube-proxy it is undefined which one wins. A key exists as long as any port claims it.
"""

from __future__ import annotations

from collections.abc import KeysView, Mapping
from typing import Generic, NamedTuple, TypeVar

from kproxy.forwarding.plan import ServicePortName

_K = TypeVar("_K")
_V = TypeVar("_V")


class Change(NamedTuple, Generic[_K, _V]):
    """A key with its former and its present value; a value is None if the key has none."""

    key: _K
    before: _V | None
    after: _V | None


class Claims(Generic[_K, _V]):
    """The claims of all service ports, and the changes since `take_changes` was last called."""

    def __init__(self) -> None:
        # Nearly every key has a single claim, which is stored without a mapping of its own. What is
        # here of a key with several is one that it had.
        self._single: dict[_K, tuple[ServicePortName, _V]] = {}
        self._several: dict[_K, dict[ServicePortName, _V]] = {}
        self._before: dict[_K, _V | None] = {}  # of keys touched since `take_changes`

    def change(
        self, name: ServicePortName, former: Mapping[_K, _V], fresh: Mapping[_K, _V]
    ) -> None:
        """Replace the claims of `name`; `former` must be what was `fresh` in the last call."""
        for key, value in fresh.items():
            if former.get(key) != value:
                self._claim(key, name, value)
        for key in former:
            if key not in fresh:
                self._release(key, name)

    def take_changes(self) -> list[Change[_K, _V]]:
        """Return the net effect of all changes since the last call."""
        touched, self._before = self._before, {}
        return [
            Change(key, before, after)
            for key, before in touched.items()
            if before != (after := self.get(key))
        ]

    def get(self, key: _K) -> _V | None:
        single = self._single.get(key)
        if single is None:
            return None
        if self._several and (several := self._several.get(key)):
            return several[min(several)]
        return single[1]

    def keys(self) -> KeysView[_K]:
        return self._single.keys()

    def _claim(self, key: _K, name: ServicePortName, value: _V) -> None:
        single = self._single.get(key)
        if single is None:  # the usual case at a start: to hash a key takes longer than the rest
            self._before.setdefault(key, None)
            self._single[key] = (name, value)
            return
        self._before.setdefault(key, self.get(key))
        several = self._several.get(key)
        if several is not None:
            several[name] = value
        elif single[0] == name:
            self._single[key] = (name, value)
        else:
            self._several[key] = {single[0]: single[1], name: value}

    def _release(self, key: _K, name: ServicePortName) -> None:
        self._before.setdefault(key, self.get(key))
        several = self._several.get(key)
        if several is None:
            del self._single[key]
            return
        del several[name]
        if len(several) == 1:
            del self._several[key]
            self._single[key] = next(iter(several.items()))
