"""Plans of a node from objects and a configuration alone. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.addresses import parse_ip
from kproxy.api.types import KubernetesObject, Node
from kproxy.backend import BackendOptions, HostFacts, Mode, Plan
from kproxy.config import ProxyConfig, node_settings
from kproxy.config.known_nodes import check_known
from kproxy.config.node import of_node
from kproxy.errors import BadInput
from kproxy.forwarding.planner import Planner
from kproxy.store import Store
from kproxy.upgrade.rules import nodes_of

_LOOPBACK = ("127.0.0.1", "::1")


class Paper(Struct, frozen=True, kw_only=True):
    """A mode with its configuration. `options` are complete."""

    config: ProxyConfig
    mode: Mode
    options: BackendOptions


class NodeOnPaper(Struct, frozen=True, kw_only=True):
    """The plans of one node, by family, and what is known of its kernel."""

    name: str
    plans: Mapping[Family, Plan]
    facts: HostFacts


def node_on_paper(
    objects: Sequence[KubernetesObject],
    paper: Paper,
    name: str,
    families: Collection[Family],
    facts: HostFacts,
) -> NodeOnPaper:
    """Return the plans of a node. `facts.addresses` are added to those of its Node object and to
    the loopback ones. `name` "": that of the configuration, or the only node that the objects are
    or name.

    Raises BadInput if that is not clear, and if the configuration does not fit the node.
    """
    store = Store()
    store.replace(objects)
    name = name.strip().lower() or paper.config.hostname_override.strip().lower()
    name = name or _only(nodes_of(objects))
    if not facts.addresses:
        check_known(name, objects, "name one of these, or give its Node object")
    node = store.node(name)
    settings = node_settings(
        of_node(paper.config, name),
        node,
        store.service_cidrs(),
        mode=paper.mode.config,
        options=paper.options,
    )
    plans = {}
    for family in families:
        planner = Planner(settings[family])
        planner.replan(store)
        plans[family] = planner.plan
    addresses = frozenset((*_LOOPBACK, *_addresses(node), *facts.addresses))
    return NodeOnPaper(name=name, plans=plans, facts=replace(facts, addresses=addresses))


def _only(nodes: Collection[str]) -> str:
    if len(nodes) == 1:
        return next(iter(nodes))
    known = f"{', '.join(sorted(nodes)[:5])}{' ...' * (len(nodes) > 5)}"
    raise BadInput([f"--node: name one of the nodes: {known}"])


def _addresses(node: Node | None) -> list[str]:
    listed = node.status.addresses if node else ()
    return [str(ip) for each in listed if (ip := parse_ip(each.address))]
