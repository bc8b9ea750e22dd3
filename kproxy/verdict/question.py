"""A question about a packet and its answer: objects, configuration and node give the plan. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from kproxy.address import Family, family_of
from kproxy.api.addresses import parse_ip
from kproxy.api.types import (
    PROXY_NAME_LABEL,
    KubernetesObject,
    Metadata,
    Node,
    NodeAddress,
    Service,
)
from kproxy.backend.configuration import Configuration
from kproxy.backend.registry import rules_of
from kproxy.config import node_settings
from kproxy.config.known_nodes import check_known
from kproxy.config.node import node_addresses, of_node
from kproxy.errors import BadInput
from kproxy.forwarding.endpoints import endpoints_of
from kproxy.forwarding.network import Host, HostKind
from kproxy.forwarding.plan import Plan
from kproxy.forwarding.planner import Planner
from kproxy.forwarding.rules import Passage, Rules, asked
from kproxy.forwarding.service_ports import is_proxied
from kproxy.store import Store
from kproxy.verdict.decision import Action, Verdict, decide
from kproxy.verdict.places import Place
from kproxy.verdict.selection import selection
from kproxy.verdict.senders import Sender, Senders


class Answer(Struct, frozen=True, kw_only=True):
    """The verdict of a node's proxy on the packet of a sender."""

    node: str
    mode: str
    sender: Sender
    place: Place
    verdict: Verdict


class NodeProxy:
    """The proxy of one node with a configuration, over the objects of a cluster."""

    def __init__(
        self,
        objects: Sequence[KubernetesObject],
        configuration: Configuration,
        node: str = "",
        node_ips: Sequence[str] = (),
    ) -> None:
        """`node` is its name; "" is that of the configuration, or of the only Node.

        `node_ips`: addresses of the node besides those of its Node object. Raises BadInput, and
        NoOracle if the mode cannot be predicted.
        """
        self._objects = objects
        self._configuration = configuration
        self._rules: Rules = rules_of(configuration.mode.name)
        self._plans: dict[Family, Plan] = {}  # of the families that were asked about
        self._store = Store()
        self._store.replace(objects)
        self.name = _name(node or configuration.config.hostname_override, objects)
        if not node_ips:
            check_known(self.name, objects, "name one of these, or give --node-ip")
        config = of_node(configuration.config, self.name)
        own = _with_addresses(self._store.node(self.name), self.name, node_ips)
        self._settings = node_settings(
            config,
            own,
            self._store.service_cidrs(),
            mode=configuration.mode.config,
            options=configuration.options,
        )
        known = node_addresses(config, own).values()
        listed = [ip for each in own.status.addresses if (ip := parse_ip(each.address))]
        addresses = [str(ip) for ip in (*known, *listed) if not ip.is_loopback]
        self._host = Host(
            name=self.name, kind=HostKind.NODE, addresses=tuple(dict.fromkeys(addresses))
        )

    def answer(self, sender: str, place: Place) -> Answer:
        """Return the verdict on a packet from `sender` (see `Senders.find`). Raises BadInput."""
        plan = self.plan(family_of(place.address))
        node = replace(self._host, bound=self.bound(family_of(place.address)))
        senders = Senders(self._objects, node, self._configuration.config.cluster_cidrs)
        found = senders.find(sender, place.address)
        passage = Passage(
            node=self._host,
            arrival=found.arrival,
            source=found.address,
            address=place.address,
            port=place.port,
            protocol=place.protocol,
        )
        verdict = decide(plan, self._rules, passage)
        told = (found.why, *verdict.reasons, *self._selected(plan, passage, verdict))
        if verdict.action is Action.PASS:
            told = (*told, *self._left_alone(place), *self._unknown(place))
        return Answer(
            node=self.name,
            mode=self._configuration.mode.name,
            sender=found,
            place=place,
            verdict=replace(verdict, reasons=told),
        )

    def _selected(self, plan: Plan, passage: Passage, verdict: Verdict) -> list[str]:
        """Tell how the endpoints of the Services that have the place came to be these."""
        if verdict.action not in (Action.FORWARD, Action.REJECT):
            return []
        used = frozenset(verdict.endpoints)
        found: list[str] = []
        for service, frontend in asked(plan, passage, node_ports=True):
            known = endpoints_of(self._store.slices(service.name.service), plan.settings)
            found += selection(service, frontend, known, plan.settings, used)
        return [*dict.fromkeys(found)]

    def plan(self, family: Family) -> Plan:
        """Return the node's plan in a family."""
        if family not in self._plans:
            planner = Planner(self._settings[family])
            planner.replan(self._store)
            self._plans[family] = planner.plan
        return self._plans[family]

    def bound(self, family: Family) -> tuple[str, ...]:
        """Return the addresses of Services that the mode makes the node's own."""
        return self._rules.bound(self.plan(family), self._host)

    def _unknown(self, place: Place) -> list[str]:
        """Tell that node ports cannot be judged, if no address of the node is known."""
        family = family_of(place.address)
        if any(family_of(each) is family for each in self._host.addresses):
            return []
        where = "so nor is where its node ports answer: give its Node object, or --node-ip"
        return [f"no {family.value} address of {self.name} is known, {where}"]

    def _left_alone(self, place: Place) -> list[str]:
        """Tell of Services with the address that are not this proxy's."""
        found = []
        for each in self._objects:
            if not isinstance(each, Service):
                continue
            spec = each.spec
            ingress = each.status.load_balancer.ingress
            own = {spec.cluster_ip, *spec.cluster_ips, *spec.external_ips}
            name = f"{place.address} is that of {each.metadata.namespace}/{each.metadata.name}"
            if not is_proxied(each) and place.address in own | {one.ip for one in ingress}:
                found.append(f"{name}, {_why_not_proxied(each)}")
            elif any(one.ip == place.address and one.ip_mode == "Proxy" for one in ingress):
                found.append(f"{name} with ipMode Proxy, which leaves it to the load balancer")
        return found


def _why_not_proxied(service: Service) -> str:
    if PROXY_NAME_LABEL in service.metadata.labels:
        other = service.metadata.labels[PROXY_NAME_LABEL]
        return f"which the label {PROXY_NAME_LABEL} leaves to the proxy {other!r}"
    if service.spec.type == "ExternalName":
        return "which is of type ExternalName, a mere DNS name"
    return "which has no cluster IP"


def _name(given: str, objects: Sequence[KubernetesObject]) -> str:
    if name := given.strip().lower():
        return name
    nodes = [each.metadata.name for each in objects if isinstance(each, Node)]
    if len(nodes) == 1:
        return nodes[0]
    there = f"one of {', '.join(sorted(nodes))}" if nodes else "there is no Node object"
    raise BadInput([f"--node: of which node is the proxy? ({there})"])


def _with_addresses(node: Node | None, name: str, addresses: Sequence[str]) -> Node:
    """Return the Node, or a new one, with additional internal addresses."""
    node = node or Node(metadata=Metadata(name=name))
    added = tuple(NodeAddress(type="InternalIP", address=each) for each in addresses)
    status = replace(node.status, addresses=(*node.status.addresses, *added))
    return replace(node, status=status)
