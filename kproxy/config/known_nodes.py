"""The nodes that objects tell of, so that a misspelled name is not taken for one without addresses.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from kproxy.api.types import EndpointSlice, KubernetesObject, Node, Pod
from kproxy.errors import BadInput

_SHOWN = 8


def check_known(name: str, objects: Iterable[KubernetesObject], remedy: str) -> None:
    """Raise BadInput, with `remedy`, if there are Nodes, but no object is or names this one."""
    nodes: set[str] = set()
    named: set[str | None] = set()
    for each in objects:
        if isinstance(each, Node):
            nodes.add(each.metadata.name)
        elif isinstance(each, EndpointSlice):
            named.update(endpoint.node_name for endpoint in each.endpoints)
        elif isinstance(each, Pod):
            named.add(each.spec.node_name)
    if not nodes or name in nodes | named:
        return
    known = f"{', '.join(sorted(nodes)[:_SHOWN])}{' ...' * (len(nodes) > _SHOWN)}"
    raise BadInput([f"there is no Node {name}; there are: {known}"], remedy=remedy)
