"""Feature gates: those that matter to a service proxy, and problems and notices about others.

Source: kube-proxy v1.36 pkg/features/kube_features.go; for later versions the pull requests named
in `kproxy.versions`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct

from kproxy.api.problems import Problem
from kproxy.versions import Version


class Gate(Struct, frozen=True):
    """A feature gate. It exists `since` a version (None: before all that are known) and `until`
    another. It is off by default, and alpha, before `on_since`. `plan`: what is to become of it.
    `stage`: as metrics tell it, unless it is alpha; "" is GA.
    """

    default: bool
    locked: bool = False  # to its default
    alpha: bool = False  # off by default, but on with AllAlpha
    since: Version | None = None
    until: Version | None = None
    on_since: Version | None = None
    plan: str = ""
    stage: str = ""

    def stage_in(self, version: Version) -> str:
        alpha = self.alpha or (self.on_since is not None and not version.at_least(self.on_since))
        return "ALPHA" if alpha else self.stage

    def known_in(self, version: Version) -> bool:
        return (self.since is None or version.at_least(self.since)) and (
            self.until is None or not version.at_least(self.until)
        )

    def default_in(self, version: Version) -> bool:
        return self.default and (self.on_since is None or version.at_least(self.on_since))


GATES: Mapping[str, Gate] = {
    "AllAlpha": Gate(False, stage="ALPHA"),
    "AllBeta": Gate(False, stage="BETA"),
    "AllowServiceExternalIPs": Gate(True),
    "ComponentFlagz": Gate(True, stage="BETA"),
    "ComponentStatusz": Gate(True, stage="BETA"),
    "KubeProxyIPVS": Gate(
        True,
        since=Version.V1_37,
        plan="off by default in kube-proxy 1.40, and locked off in 1.43",
    ),
    "KubeProxyNFTablesLocalhostNodePorts": Gate(False, alpha=True, since=Version.V1_37),
    "MultiCIDRServiceAllocator": Gate(True, locked=True),
    "NFTablesNetlink": Gate(True, since=Version.V1_37, stage="BETA"),
    "NFTablesProxyMode": Gate(True, locked=True, until=Version.V1_38),
    "NativeHistograms": Gate(True, on_since=Version.V1_37, stage="BETA"),
    "PreferSameTrafficDistribution": Gate(True, locked=True, until=Version.V1_38),
}


def enabled(gates: Mapping[str, bool], name: str, version: Version) -> bool:
    """Tell whether a gate is on: never if this version does not know it."""
    gate = GATES[name]
    if not gate.known_in(version):
        return False
    default = gates.get("AllAlpha", False) if gate.alpha else gate.default_in(version)
    return gates.get(name, default)


def gate_problems(gates: Mapping[str, bool], version: Version) -> list[Problem]:
    """Return problems: locked gates set to another value, gates that other versions have, and
    likely misspellings of our gates.
    """
    known = {name: gate for name, gate in GATES.items() if gate.known_in(version)}
    found = []
    for name, value in gates.items():
        where = f"featureGates.{name}"
        if name in GATES and name not in known:
            found.append(Problem(where, _of_other_versions(GATES[name], version)))
        elif name in known and known[name].locked and value != known[name].default:
            found.append(Problem(where, f"is locked to {str(known[name].default).lower()}"))
        elif name not in GATES and (near := _near(name, known)):
            found.append(Problem(where, f"unknown; did you mean {near}?"))
    return found


def gate_notices(gates: Mapping[str, bool]) -> list[Problem]:
    """Return notices of gates of other components, which a cluster's shared file may name."""
    return [
        Problem(f"featureGates.{name}", "has no effect on a service proxy")
        for name in gates
        if name not in GATES and not _near(name, GATES)
    ]


def _of_other_versions(gate: Gate, version: Version) -> str:
    if gate.since and not version.at_least(gate.since):
        return f"unknown in kube-proxy {version}; it came with {gate.since}"
    return f"unknown in kube-proxy {version}; it was removed"


def _near(name: str, known: Collection[str]) -> str:
    import difflib

    return next(iter(difflib.get_close_matches(name, known, 1, 0.85)), "")
