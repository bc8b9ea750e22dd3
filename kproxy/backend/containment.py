"""Contains the backends of other packages: whatever they do wrong becomes an error with their name.

If a method raises or returns what the contract does not allow, the caller gets `BackendFault`,
which is handled like any failed sync. The name of the plug-in is added to errors that the contract
allows, unless it is one of kproxy's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from msgspec import Struct

from kproxy.address import Family
from kproxy.backend.contract import (
    Backend,
    BackendFactory,
    Predecessor,
    Ruleset,
    Support,
    SyncReport,
    Uses,
)
from kproxy.backend.figures import Counting, Figure
from kproxy.backend.listing import Lister, Listing, uncounted
from kproxy.errors import BackendFault, KernelRefused, KproxyError, Unsupported
from kproxy.forwarding.plan import BackendOptions, Delta, NodeSettings, Plan

METHODS: Mapping[str, int] = {  # of the contract -> how many arguments it is called with
    "support": 0,
    "prepare": 1,
    "sync": 2,
    "intact": 0,
    "read": 0,
    "cleanup": 0,
    "close": 0,
}
_T = TypeVar("_T")


class Plugin(Struct, frozen=True):
    """The origin of a backend. `own` means that it is part of kproxy: then `version` is looked up
    when it is shown.
    """

    mode: str
    distribution: str
    version: str = ""
    own: bool = False

    def __str__(self) -> str:
        shown = self.version
        if self.own:
            from importlib.metadata import version

            shown = version(self.distribution)
        return f"backend {self.mode!r} ({self.distribution} {shown})"


def contained(plugin: Plugin, factory: BackendFactory) -> BackendFactory:
    """Return a factory of the same backends, contained. The factory raises BackendFault."""

    def make(family: Family, options: BackendOptions) -> Backend:
        try:
            backend = factory(family, options)
        except (KproxyError, OSError) as error:
            raise _named(plugin, error) from error
        except (Exception, SystemExit) as error:
            raise BackendFault(f"{plugin} cannot be made: {describe(error)}") from error
        if problem := lacking(type(backend)):
            raise BackendFault(f"{plugin} {problem}")
        kind = _ContainedPredecessor if isinstance(backend, Predecessor) else _Contained
        return kind(plugin, backend)

    return make


def lacking(kind: type) -> str:
    """Return what a class of backends lacks of the contract, "" if nothing."""
    for name, count in METHODS.items():
        method = getattr(kind, name, None)
        if method is None or method is getattr(Backend, name):  # inherited, and without a body
            return f"has no method {name}()"
        if not callable(method):
            return f"has a {name} that is not a method"
        if not takes(method, count + 1):  # self
            return f"has a method {name}() that does not take {count} arguments"
    return ""


def takes(function: Any, count: int) -> bool:
    """Tell whether a function can be called with `count` positional arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # written in C, without a signature: assume it can
        return True
    return True


def describe(error: BaseException) -> str:
    """Return the kind and the first line of an exception."""
    first, _, _ = str(error).partition("\n")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


class _Contained:
    """A backend that keeps the contract, or raises BackendFault."""

    def __init__(self, plugin: Plugin, backend: Any) -> None:
        self._plugin = plugin
        self._backend = backend

    def support(self) -> Support:
        return self._call("support", Support)

    def prepare(self, settings: NodeSettings, /) -> None:
        self._call("prepare", object, settings)

    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        return self._call("sync", SyncReport, plan, delta)

    def intact(self) -> bool:
        return self._call("intact", bool)

    def read(self) -> Ruleset:
        return self._tables("read")

    def listing(self) -> Listing:
        """Return what `read` does, with counters where the backend has some."""
        if not isinstance(self._backend, Lister):
            return uncounted(self.read())
        return self._tables("listing")

    def cleanup(self) -> None:
        self._call("cleanup", object)

    def close(self) -> None:
        self._call("close", object)

    def figures(self) -> tuple[Figure, ...]:
        if not isinstance(self._backend, Counting):
            return ()
        found = self._call("figures", tuple)
        if not all(isinstance(each, Figure) for each in found):
            raise BackendFault(f"{self._plugin}: figures() returned something else than figures")
        return found

    def _tables(self, method: str) -> Mapping[str, Mapping[str, Any]]:
        found = self._call(method, object)
        if not isinstance(found, Mapping):
            name = type(found).__name__
            raise BackendFault(f"{self._plugin}: {method}() returned {name}, not Mapping")
        if not all(isinstance(chains, Mapping) for chains in found.values()):
            raise BackendFault(f"{self._plugin}: {method}() returned tables that are not mappings")
        return found

    def _call(self, method: str, kind: type[_T], *arguments: Any) -> _T:
        function: Callable[..., Any] = getattr(self._backend, method)
        try:
            result = function(*arguments)
        except (KproxyError, OSError) as error:
            raise _named(self._plugin, error) from error
        except (Exception, SystemExit) as error:
            raise BackendFault(f"{self._plugin}: {method}() raised {describe(error)}") from error
        if not isinstance(result, kind):
            raise BackendFault(
                f"{self._plugin}: {method}() returned {type(result).__name__}, not {kind.__name__}"
            )
        return result


class _ContainedPredecessor(_Contained):
    def uses(self) -> Uses:
        return self._call("uses", Uses)

    def has_left(self, successor: Uses, /) -> bool:
        return self._call("has_left", bool, successor)

    def leave(self, successor: Uses, /) -> bool:
        return self._call("leave", bool, successor)


def _named(plugin: Plugin, error: KproxyError | OSError) -> KproxyError | OSError:
    """Return the error with the plug-in's name in front, unless the backend is kproxy's own."""
    if plugin.own:
        return error
    text = f"{plugin}: {error}"
    match error:
        case BackendFault():
            return error
        case KernelRefused() | Unsupported():
            return type(error)(text, remedy=error.remedy)
        case KproxyError():
            return BackendFault(text, remedy=error.remedy)
        case _:
            return KernelRefused(text)
