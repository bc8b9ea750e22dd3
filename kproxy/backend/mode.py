"""A proxy mode as a value: what kproxy knows about it before any backend object exists.

The core asks a `Mode` and does not compare names. An installed package provides one by an entry
point in the group `kproxy.backends`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from kproxy.backend.contract import CONTRACT_VERSION, BackendFactory, Ruleset
from kproxy.backend.inputs import HostFacts, ProgramInput
from kproxy.backend.listing import ServiceRules
from kproxy.config.types import ModeConfig
from kproxy.forwarding.plan import BackendOptions, Plan
from kproxy.forwarding.rules import Rules


def as_it_is(ruleset: Ruleset) -> object:
    """Return the ruleset: two of them are compared rule by rule, in order."""
    return ruleset


def nobody(_ruleset: Ruleset) -> int:
    """Return 0: a mode that does not count Services has none that could be lost."""
    return 0


class Mode(Struct, frozen=True, kw_only=True):
    """One value of `--proxy-mode`."""

    name: str
    """The entry point's name, and the value of `mode` in a configuration."""
    backend: BackendFactory
    """Called with a family and an object of `options`; usually the backend's class."""
    description: str = ""
    """One line that describes the mode."""
    contract: int = CONTRACT_VERSION
    """The version of the contract that the backend was written for."""
    options: type[BackendOptions] = BackendOptions
    """The mode's own options: decoded from `--backend-option` and `backendOptions`."""
    config: ModeConfig = ModeConfig()
    """How the mode reads the rest of the configuration."""
    rules: Rules | None = None
    """The mode's rules for the oracle. Without them nothing can be predicted."""
    comparable: Callable[[Ruleset], object] = as_it_is
    """Maps rulesets that mean the same to equal values, whatever order history gave their rules."""
    render: Callable[[Plan, frozenset[str]], Ruleset] | None = None
    """Gives what `Backend.read` would return after a full sync of the plan in a fresh namespace.

    Pure. The set has all addresses of the node's interfaces, of both families: from them the mode
    selects those that answer node ports. `comparable` of both is equal on a kernel, and with tools,
    of the usual kind; the mode's module tells which these are. Without it nothing can be rendered.
    """
    inputs: Callable[[Plan, HostFacts], Sequence[ProgramInput]] | None = None
    """Gives the text with which programs write what a full sync of the plan does, in order. Pure.

    None for a mode whose state no program can make.
    """
    service_rules: ServiceRules | None = None
    """Gives the rules of one Service in the order in which a packet meets them. Pure.

    The listing is what `render` gave, or `Lister.listing` or `Backend.read` returned. Raises
    BadInput if it needs the Service's plans and they are not given. Without it, rules that have an
    address and port of the Service are shown, in no special order.
    """
    services: Callable[[Ruleset], int] = nobody
    """Counts the Services of a ruleset, for a mode whose rules outlive its process."""
    variants: tuple[str, ...] = ()
    """The values of `variant_option` that `bench` compares: several ways to do the same."""
    variant_option: str = ""
    """The attribute of `options` that selects a variant."""
    needs_ip_vs: bool = False
    """It works only on a kernel that has IPVS; on others, commands run on user-mode Linux."""
    forwards_itself: bool = False
    """The backend forwards in its own process: `close` ends forwarding, not only the updates."""
    falls_back: bool = False
    """With a policy Local and no endpoint on the node, those of other nodes may be used; other
    modes drop.
    """
    traced: bool = True
    """Netfilter's trace shows what it does to a packet."""
    in_parts: bool = False
    """A sync costs what it changes, however many Services there are besides.

    Then thousands of Services that change at once are written some after the other, which needs
    less memory: a sync holds all that was and all that will be of what it changes.
    """
    partial_syncs: bool = True
    """kube-proxy has durations of full and of partial syncs of this mode, each on its own."""
    policies_by_service: bool = False
    """kube-proxy counts Services without local endpoints, where other modes count their ports."""
    affinity_follows_connections: bool = False
    """A client keeps its endpoint as long as the kernel remembers any of its connections."""
    chains: Mapping[str, str] = {}
    """Beginnings of the names of its chains, each with a few words for what such a chain is for.

    Those that only lead on to others (`KUBE-SERVICES`) are left out: a trace shows the jumps to
    chains that are here, and counts the others.
    """
    look: str = ""
    """A command that shows its state inside a node, for the user."""

    def has_option(self, name: str) -> bool:
        """Tell whether `options` has an attribute of this name."""
        return name in self.options.__struct_fields__

    def options_with(self, **wanted: Any) -> BackendOptions:
        """Return options with those of `wanted` (by attribute) that this mode has."""
        return self.options(
            **{name: value for name, value in wanted.items() if self.has_option(name)}
        )

    def lacks_kernel(self) -> bool:
        """Tell whether the running kernel cannot run the mode, but user-mode Linux can."""
        if not self.needs_ip_vs:
            return False
        from kproxy.kernel.ipvs import has_ipvs

        return not has_ipvs()
