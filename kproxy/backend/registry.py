"""Finding backends: entry points of installed packages, checked when they are loaded.

A fault is one line that names the backend, its distribution and version, and what is wrong. It
fails only the request for that backend.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kproxy.backend.containment import Plugin, contained, describe, lacking, takes
from kproxy.backend.contract import CONTRACT_VERSION
from kproxy.backend.mode import Mode
from kproxy.config.types import ModeConfig
from kproxy.errors import BackendFault, BadInput, NoOracle
from kproxy.forwarding.plan import BackendOptions
from kproxy.forwarding.rules import NoProxy, Rules

if TYPE_CHECKING:  # imported where packages are looked through: it takes as long as msgspec
    from importlib.metadata import Distribution, EntryPoint

GROUP = "kproxy.backends"
DEFAULT_MODE = "iptables"  # as kube-proxy's
_OWN = "kproxy"  # the distribution
# Its entry points, which win over others of the same name: they are found without looking through
# all installed packages, which takes a sixth of a short command.
_OWN_MODES = {
    "iptables": "kproxy_iptables",
    "ipvs": "kproxy_ipvs",
    "nftables": "kproxy_nftables",
    "userspace": "kproxy_userspace",
}
_NAME = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"


def modes() -> list[str]:
    """Return the names of the installed backends, which are the values of `--proxy-mode`.

    None of them is loaded, so some may turn out to be broken.
    """
    return sorted(_installed())


def is_installed(name: str) -> bool:
    """Tell whether there is a backend of this name."""
    return name in _OWN_MODES or name in _installed()


def load(name: str) -> Mode:
    """Return the mode called `name`, checked; its backends are contained (see `containment`).

    Raises BadInput if none is installed, BackendFault if it breaks the contract.
    """
    if not is_installed(name):
        raise BadInput([f"no backend called {name!r}; installed: {', '.join(modes()) or 'none'}"])
    loaded = _load(name)
    if isinstance(loaded, BackendFault):
        raise loaded
    return loaded


def sound_modes() -> Iterator[Mode]:
    """Yield every installed mode that can be loaded. Faults of others are logged, once each."""
    for name in modes():
        loaded = _load(name)
        if isinstance(loaded, BackendFault):
            _warn_once(str(loaded))
        else:
            yield loaded


def report_faults() -> None:
    """Log the faults of other packages' backends, once each. kproxy's own are not loaded."""
    for name, entry in _installed().items():
        if not _plugin(entry).own and isinstance(fault := _load(name), BackendFault):
            _warn_once(str(fault))


def rules_of(name: str | None) -> Rules:
    """Return the rules of a mode for the oracle; with `name` None, those without any proxy.

    Raises NoOracle if the mode has none, and what `load` raises.
    """
    if name is None:
        return NoProxy()
    rules = load(name).rules
    if rules is None:
        raise NoOracle(
            [f"{name} mode has no oracle: its backend gives no rules to predict with"],
            remedy="give Mode(rules=...) in that backend, see docs/backends.md",
        )
    return rules


class ModeConfigs(Mapping[str, ModeConfig]):
    """How each installed mode reads a configuration, by name; a mode is loaded when looked up.

    A lookup raises BackendFault if the backend is broken.
    """

    def __getitem__(self, name: str) -> ModeConfig:
        if not is_installed(name):
            raise KeyError(name)
        return load(name).config

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and is_installed(name)

    def __iter__(self) -> Iterator[str]:
        return iter(modes())

    def __len__(self) -> int:
        return len(_installed())


@cache  # a fault is found once
def _load(name: str) -> Mode | BackendFault:
    own = _OWN_MODES.get(name)
    entry = None if own else _installed()[name]
    plugin = _plugin(entry) if entry else Plugin(name, _OWN, own=True)
    try:
        value = entry.load() if entry else import_module(str(own)).MODE
    except (Exception, SystemExit) as error:
        return BackendFault(f"{plugin} cannot be loaded: {describe(error)}")
    mode = value if isinstance(value, Mode) else None
    if mode is None:
        if entry is None or not callable(value):
            where = entry.value if entry else f"{own}:MODE"
            return BackendFault(f"{plugin}: {where} is neither a Mode nor a backend class")
        mode = Mode(name=name, backend=value)
    if problem := problem_of(name, mode):
        return BackendFault(f"{plugin} {problem}")
    return replace(mode, backend=contained(plugin, mode.backend))


def problem_of(name: str, mode: Mode) -> str:
    """Tell why a mode that an entry point of this name gives cannot be used, "" if it can."""
    if not re.fullmatch(_NAME, name):
        return "has a name that is not made of lower-case letters, digits and hyphens"
    if mode.name != name:
        return f"calls its mode {mode.name!r}, unlike its entry point"
    if mode.contract != CONTRACT_VERSION:
        return (
            f"was written for version {mode.contract} of the contract, "
            f"and this kproxy has version {CONTRACT_VERSION}"
        )
    if not (isinstance(mode.options, type) and issubclass(mode.options, BackendOptions)):
        return f"has options of type {mode.options!r}, which is not a subclass of BackendOptions"
    if not callable(mode.backend):
        return "has a backend that cannot be called"
    if not takes(mode.backend, 2):
        return "has a backend that cannot be made from a family and options"
    return lacking(mode.backend) if isinstance(mode.backend, type) else ""


@cache  # looking through all installed packages takes some milliseconds
def _installed() -> Mapping[str, EntryPoint]:
    """Return entry points by name. If several have one name, kproxy's own wins, else the first."""
    found: dict[str, EntryPoint] = {}
    for entry in _entry_points():
        other = found.setdefault(entry.name, entry)
        if other is not entry and _plugin(other) != _plugin(entry):
            first, second = sorted((other, entry), key=_precedence)
            found[entry.name] = first
            _warn_once(f"{_plugin(second)} is ignored: {_plugin(first)} has that name")
    return found


def _precedence(entry: EntryPoint) -> tuple[bool, str]:
    plugin = _plugin(entry)
    return (not plugin.own, str(plugin))


def _entry_points() -> list[EntryPoint]:
    from importlib.metadata import distributions, entry_points

    try:
        return list(entry_points(group=GROUP))
    except Exception:  # one package's metadata cannot be read: look at each by itself
        return [entry for each in distributions() for entry in _entry_points_of(each)]


def _entry_points_of(distribution: Distribution) -> list[EntryPoint]:
    try:
        return list(distribution.entry_points.select(group=GROUP))
    except Exception as error:
        name = distribution.metadata["Name"]
        _warn_once(f"the entry points of {name} cannot be read: {describe(error)}")
        return []


def _plugin(entry: EntryPoint) -> Plugin:
    if entry.dist is None:
        return Plugin(entry.name, "of no known package")
    name = entry.dist.name
    if name == _OWN:
        return Plugin(entry.name, name, own=True)
    return Plugin(entry.name, name, entry.dist.version)


@cache
def _warn_once(text: str) -> None:
    import logging  # takes three milliseconds

    logging.getLogger("kproxy").warning("%s", text)
