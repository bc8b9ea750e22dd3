"""The contract between the control loop and a backend, and how backends are found.

A backend turns the plan of one IP family into the state of one network namespace: the one its
methods are called in. Third parties add one by installing a package with an entry point in the
group `kproxy.backends` whose value is a `BackendFactory`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, runtime_checkable

from msgspec import Struct

from kproxy.address import Family
from kproxy.config.types import IpvsSection
from kproxy.errors import BadInput
from kproxy.forwarding.plan import Delta, NodeSettings, Plan
from kproxy.kernel.xtables import Jump


class Support(Struct, frozen=True):
    """Whether a backend can run here. `missing` says what is lacking, `remedy` what to install."""

    ok: bool
    missing: str = ""
    remedy: str = ""


class SyncReport(Struct, frozen=True, kw_only=True):
    """What one sync wrote. `rules_written` counts rules by table; `transactions` kernel commits.

    `again_in_s`: after this time it wants to be called even if nothing has changed; 0: it does not.
    """

    full: bool
    transactions: int
    rules_written: Mapping[str, int]
    again_in_s: float = 0


Ruleset = Mapping[str, Mapping[str, tuple[str, ...]]]
"""table -> chain -> rules in order, each as the kernel's own tool prints it."""


class BackendOptions(Struct, frozen=True, kw_only=True):
    """Settings that only backends understand, from the configuration and the command line.

    `ipvs_local_fallback`: with a traffic policy Local and no endpoint on the node, virtual servers
    lead to all endpoints, as since Kubernetes 1.25; else they are empty and refuse, as before. A
    backend finds it in the plan, and so does the oracle: `NodeProxy` puts it there.
    """

    iptables_variant: str = "auto"  # auto, nft, legacy
    nftables_layout: str = "kube-proxy"  # kube-proxy, flat
    ipvs: IpvsSection = IpvsSection()
    ipvs_local_fallback: bool = True


class Backend(Protocol):
    """One family's kernel state in the namespace of the calling thread."""

    name: str

    def support(self) -> Support: ...

    def prepare(self, settings: NodeSettings, /) -> None:
        """Write the kernel settings that the rules rely on; a full sync does it, too.

        Raises KernelRefused, Unsupported.
        """
        ...

    def sync(self, plan: Plan, delta: Delta) -> SyncReport:
        """Make the kernel match `plan`. All of a transaction or nothing; repeating it is harmless.

        `delta` must be relative to the last sync of this object that did not raise; after
        an error, or on a new object, the caller passes `Delta(full=True)`; an empty one if the
        report of the last sync has asked for it. Raises KernelRefused.
        """
        ...

    def intact(self) -> bool:
        """Whether what the last sync wrote is still there, and still suits the node's addresses.

        Cheap enough for once a second.
        """
        ...

    def read(self) -> Ruleset:
        """What the kernel holds now, in the chains and sets that belong to a service proxy."""
        ...

    def cleanup(self) -> None:
        """Remove every trace, also of a crashed predecessor, and nothing else."""
        ...


class Uses(Struct, frozen=True, kw_only=True):
    """What a mode writes under names that are not its own alone.

    `variant`: of iptables, "" for none. `chains`: table and name, of those in all namespaces.
    """

    mode: str
    variant: str = ""
    chains: frozenset[tuple[str, str]] = frozenset()
    jumps: frozenset[Jump] = frozenset()


@runtime_checkable
class Predecessor(Protocol):
    """What a backend has besides if it shares names with other modes, or cannot leave at once.

    Another mode, or the same in another variant of iptables, calls it after the first sync of its
    own. Of a backend without it, `read` tells whether anything is left, and `cleanup` removes that.
    """

    def uses(self) -> Uses:
        """What must stay while this backend is in force."""
        ...

    def has_left(self, successor: Uses) -> bool:
        """Whether there is anything that `leave` would remove. Starts no process."""
        ...

    def leave(self, successor: Uses, /) -> bool:
        """Remove everything but what `successor` uses, and what open connections need.

        Whether these need anything; then this is to be called again, later. Raises KernelRefused,
        Unsupported.
        """
        ...


class BackendFactory(Protocol):
    def __call__(self, family: Family, options: BackendOptions) -> Backend: ...


def modes() -> list[str]:
    """Names of the installed backends, which are the values of `--proxy-mode`."""
    return sorted(_installed())


def load(mode: str) -> BackendFactory:
    """The factory of the backend called `mode`. Raises BadInput if none is installed."""
    entry = _installed().get(mode)
    if entry is None:
        raise BadInput([f"no backend called {mode!r}; installed: {', '.join(modes()) or 'none'}"])
    factory: BackendFactory = entry.load()
    return factory


@cache  # looking through all installed packages takes some milliseconds
def _installed() -> Mapping[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group="kproxy.backends")}
