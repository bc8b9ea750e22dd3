"""Measures all statements about network plugins, on a kernel that supports the mode.

python -m kproxy.matrix.plugins.measure REQUEST    # JSON in, JSON out; runs where IPVS is
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from kproxy.backend import DEFAULT_MODE, load
from kproxy.kernel.measurement import answer, measure_apart
from kproxy.matrix.plugins.evaluate import PluginFinding, evaluate, evaluate_example
from kproxy.matrix.plugins.lab import observe, observe_inside, options_of, running
from kproxy.matrix.plugins.seen import Observed
from kproxy.matrix.plugins.table import NETWORKS, Row, documented

_MODULE = "kproxy.matrix.plugins.measure"
_TIMEOUT_S = 600
_EXAMPLE = next(each for each in documented() if each.row is Row.EXAMPLE)


class _Request(Struct, frozen=True):
    """A measurement in another process. `example`: the example as well."""

    mode: str
    local_fallback: bool
    networks: dict[str, str]
    example: bool = False


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
    return _measure_anywhere(_Request(mode, local_fallback, dict(networks)))


def measure_example() -> list[PluginFinding]:
    """Measure the failure that the document names, last, and before it every statement about its
    plugin, in ipvs mode as before 1.25: one lab serves for both.

    Runs and raises like `measure_plugins`.
    """
    networks = {_EXAMPLE.plugin: NETWORKS[_EXAMPLE.plugin]}
    return _measure_anywhere(_Request("ipvs", False, networks, example=True))


def _measure_anywhere(request: _Request) -> list[PluginFinding]:
    return _measure_there(request) if load(request.mode).lacks_kernel() else _measure(request)


def _measure(request: _Request) -> list[PluginFinding]:
    observed: dict[str, dict[str, Observed]] = {}
    examples = []
    for plugin, network in request.networks.items():
        with running(network, request.mode, local_fallback=request.local_fallback) as lab:
            observed[plugin] = observe(lab)
            if request.example and plugin == _EXAMPLE.plugin:
                older = observed[plugin][_EXAMPLE.policy].inside
                lab.restart_proxies(options_of(request.mode, local_fallback=True))
                newer = observe_inside(lab)[_EXAMPLE.policy]
                examples.append(evaluate_example(_EXAMPLE, older, newer))
    found = [
        evaluate(each, observed[each.plugin][each.policy])
        for each in documented()
        if each.row is not Row.EXAMPLE and each.plugin in observed
    ]
    return [*found, *examples]


def _measure_there(request: _Request) -> list[PluginFinding]:
    return measure_apart(_MODULE, request, list[PluginFinding], on_uml=True, timeout_s=_TIMEOUT_S)


if __name__ == "__main__":
    answer(_measure, _Request)
