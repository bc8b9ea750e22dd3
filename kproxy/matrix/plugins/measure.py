"""Measures all statements about network plugins, on a kernel that supports the mode.

python -m kproxy.matrix.plugins.measure REQUEST    # JSON in, JSON out; runs where IPVS is
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from kproxy.backend import DEFAULT_MODE, load
from kproxy.kernel.ipvs import has_ipvs
from kproxy.kernel.measurement import answer, measure_apart
from kproxy.matrix.plugins.evaluate import PluginFinding, evaluate, evaluate_example
from kproxy.matrix.plugins.lab import observe, observe_inside
from kproxy.matrix.plugins.table import NETWORKS, PluginStatement, Row, documented

_MODULE = "kproxy.matrix.plugins.measure"
_TIMEOUT_S = 600


class _Request(Struct, frozen=True):
    """A measurement in another process. `mode` "": the example."""

    mode: str
    local_fallback: bool
    networks: dict[str, str]


def measure_plugins(
    mode: str = DEFAULT_MODE,
    *,
    local_fallback: bool = True,
    networks: Mapping[str, str] = NETWORKS,
) -> list[PluginFinding]:
    """Measure every statement except the example, in the document's order.

    `networks`: the model for each plugin. `local_fallback`: in ipvs mode, as in kube-proxy since
    1.25. ipvs mode runs on user-mode Linux if this kernel has no IPVS. Raises Unsupported,
    KernelRefused, and what `Lab` raises.
    """
    request = _Request(mode, local_fallback, dict(networks))
    if load(mode).lacks_kernel():
        return _measure_there(request)
    return _measure(request)


def measure_example() -> PluginFinding:
    """Measure the failure that the document names, in ipvs mode.

    Runs and raises like `measure_plugins`.
    """
    request = _Request("", True, dict(NETWORKS))
    (finding,) = _measure(request) if has_ipvs() else _measure_there(request)
    return finding


def _measure(request: _Request) -> list[PluginFinding]:
    if not request.mode:
        return [_measure_example(each) for each in documented() if each.row is Row.EXAMPLE]
    observed = {
        plugin: observe(network, request.mode, local_fallback=request.local_fallback)
        for plugin, network in request.networks.items()
    }
    return [
        evaluate(each, observed[each.plugin][each.policy])
        for each in documented()
        if each.row is not Row.EXAMPLE and each.plugin in observed
    ]


def _measure_example(statement: PluginStatement) -> PluginFinding:
    older, newer = (
        observe_inside(NETWORKS[statement.plugin], "ipvs", local_fallback=fallback)
        for fallback in (False, True)
    )
    return evaluate_example(statement, older[statement.policy], newer[statement.policy])


def _measure_there(request: _Request) -> list[PluginFinding]:
    return measure_apart(_MODULE, request, list[PluginFinding], on_uml=True, timeout_s=_TIMEOUT_S)


if __name__ == "__main__":
    answer(_measure, _Request)
