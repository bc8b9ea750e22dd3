"""Feature gates: those that matter to a service proxy, and problems and notices about others.

Source: kube-proxy v1.36 pkg/features/kube_features.go
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from msgspec import Struct

from kproxy.api.problems import Problem


class Gate(Struct, frozen=True):
    default: bool
    locked: bool = False  # to its default


GATES: Mapping[str, Gate] = {
    "AllAlpha": Gate(False),
    "AllBeta": Gate(False),
    "AllowServiceExternalIPs": Gate(True),
    "ComponentFlagz": Gate(True),
    "ComponentStatusz": Gate(True),
    "MultiCIDRServiceAllocator": Gate(True, locked=True),
    "NFTablesProxyMode": Gate(True, locked=True),
    "NativeHistograms": Gate(False),
    "PreferSameTrafficDistribution": Gate(True, locked=True),
}


def enabled(gates: Mapping[str, bool], name: str) -> bool:
    return gates.get(name, GATES[name].default)


def gate_problems(gates: Mapping[str, bool]) -> list[Problem]:
    """Return problems: locked gates set to another value, and likely misspellings of our gates."""
    found = []
    for name, value in gates.items():
        where = f"featureGates.{name}"
        gate = GATES.get(name)
        if gate and gate.locked and value != gate.default:
            found.append(Problem(where, f"is locked to {str(gate.default).lower()}"))
        elif gate is None and (near := difflib.get_close_matches(name, GATES, 1, 0.85)):
            found.append(Problem(where, f"unknown; did you mean {near[0]}?"))
    return found


def gate_notices(gates: Mapping[str, bool]) -> list[Problem]:
    """Return notices of gates of other components, which a cluster's shared file may name."""
    return [
        Problem(f"featureGates.{name}", "has no effect on a service proxy")
        for name in gates
        if name not in GATES and not difflib.get_close_matches(name, GATES, 1, 0.85)
    ]
