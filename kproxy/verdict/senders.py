"""Who asks: the address of a sender, and how its packet reaches the node. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from kproxy.address import Family, family_of, family_of_parsed, unbracketed
from kproxy.api.addresses import Network, parse_cidr, parse_ip
from kproxy.api.types import EndpointSlice, KubernetesObject, Node, Pod, Service
from kproxy.config.node import pod_cidrs
from kproxy.errors import BadInput
from kproxy.forwarding import network
from kproxy.forwarding.network import Host, HostKind
from kproxy.forwarding.routing import contains, is_own, source_for
from kproxy.forwarding.rules import Arrival

EXTERNAL, NODE, POD = "external", "node", "pod"
_Kind = TypeVar("_Kind")
_ROUTER = Host(name="router", kind=HostKind.ROUTER, addresses=())
# For documentation and for benchmarks, so nobody has them; the last addresses of each, which fewer
# examples use.
_OUTSIDE = {
    Family.IPV4: ("203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24", "198.18.0.0/15"),
    Family.IPV6: ("2001:db8::/32", "3fff::/20", "2001:2::/48"),
}
_TRIED = 250  # addresses of each
# Where no object tells of pods' networks; no rule depends on the address then.
_ANY_PODS = {Family.IPV4: ("10.244.0.0/16",), Family.IPV6: ("fd00:10:244::/64",)}
_ENDED = ("Succeeded", "Failed")  # phases of Pods whose addresses others may have


class Sender(Struct, frozen=True, kw_only=True):
    """A sender: its `address`, the way its packets arrive, and in a sentence what it is."""

    address: str
    arrival: Arrival
    why: str


class Senders:
    """The senders that objects know, seen from one node."""

    def __init__(
        self, objects: Iterable[KubernetesObject], node: Host, cluster_cidrs: Sequence[str] = ()
    ) -> None:
        """`node` has its own addresses, also those that its proxy has bound."""
        self._objects = tuple(objects)
        self._node = node
        self._cluster_cidrs = [str(cidr) for text in cluster_cidrs if (cidr := parse_cidr(text))]

    def find(self, text: str, address: str) -> Sender:
        """Return the sender that `text` names, for a packet to `address`.

        It is an address, `node`, `pod` (one of the node, no endpoint), `external`, or the name of a
        Node or a Pod (`NAMESPACE/NAME`, or as for a trace: `pod/NAME.NAMESPACE`).
        Raises BadInput if there is none of that name, or it has no address of the family.
        """
        family = family_of(address)
        if parsed := parse_ip(unbracketed(text)):
            if family_of_parsed(parsed) is not family:
                raise BadInput([f"--from: {parsed} and {address} are of different families"])
            return self._at(str(parsed))
        if text in (NODE, self._node.name):
            return self._process(address)
        if text == EXTERNAL:
            return self._external(family)
        if text == POD:
            return self._pod(family)
        if found := self._named(text, family):
            return found
        if (same := self._as_named_here(text)) != text:
            return self.find(same, address)
        raise BadInput(
            [f"--from: no Node or Pod {text!r} with an address of the family of {address}"],
            remedy="name a Pod as NAMESPACE/NAME, or give an address, `node`, `pod` or `external`",
        )

    def _as_named_here(self, text: str) -> str:
        """Return the name of a Pod or Node that is written as for a trace: `pod/NAME.NAMESPACE`,
        each part only if need be, or `node/NAME`; anything else as it is.
        """
        kind, slash, name = text.partition("/")
        if self._called(text):
            return text
        if kind == "node" and name in {self._node.name, *(n.metadata.name for n in self._of(Node))}:
            return name
        if slash and kind != "pod":
            return text
        name = name if slash else text
        own, _, namespace = name.rpartition(".")
        return next((each for each in (name, f"{namespace}/{own}") if self._called(each)), text)

    def _process(self, address: str) -> Sender:
        hosts = {self._node.name: self._node, _ROUTER.name: _ROUTER}
        around = network.Network(hosts=hosts, routes={})
        source = source_for(around, self._node, address)
        if not source:
            raise BadInput(
                [f"{self._node.name} has no known address of the family of {address}"],
                remedy="give its Node object, or --node-ip",
            )
        return self._own(source)

    def _own(self, address: str) -> Sender:
        why = f"{address} is a process of {self._node.name} itself"
        return Sender(address=address, arrival=Arrival.PROCESS, why=why)

    def _external(self, family: Family) -> Sender:
        """Return an address outside that no object mentions.

        No source range has it either, unless they have all, as 0.0.0.0/0 does.
        """
        taken = {*self._cluster_cidrs, *self._node.addresses, *self._mentioned()}
        for avoided in ({*taken, *self._source_ranges()}, taken):
            cidrs = [each for each in avoided if "/" in each]
            for address in _free(_OUTSIDE[family], avoided):
                if not any(contains(each, address) for each in cidrs):
                    return self._outside(address)
        raise BadInput(
            ["--from external: the objects leave no address for an example"],
            remedy="give an address",
        )

    def _pod(self, family: Family) -> Sender:
        """Return an address for a pod of the node that no object mentions."""
        own = [
            str(cidr)
            for node in self._of(Node)
            if node.metadata.name == self._node.name
            for cidr in pod_networks(node)
        ]
        cidrs = [
            each
            for known in (own, self._cluster_cidrs)
            for each in known
            if family_of(each) is family
        ]
        taken = {*self._mentioned(), *self._node.addresses}
        what = f"stands for any pod of {self._node.name}"
        if not cidrs:
            what = f"{what}: neither its podCIDRs nor clusterCIDR are known"
        found = next(_free((*cidrs, *_ANY_PODS[family]), taken), "")
        if not found:
            raise BadInput(
                ["--from pod: the objects leave no address for an example"],
                remedy="give an address",
            )
        return Sender(address=found, arrival=Arrival.POD_LINK, why=f"{found} {what}")

    def _outside(self, address: str) -> Sender:
        why = f"{address} is outside the cluster"
        return Sender(address=address, arrival=Arrival.UPLINK, why=why)

    def _at(self, address: str, *, named: bool = False) -> Sender:
        """Return the sender that has an address; `named`: it is the Node's or Pod's that has it.

        Such a one is no process of the node because a proxy has bound its address, too.
        """
        bound = () if named else self._node.bound
        if is_own(replace(self._node, bound=bound), address) or self._is_on_host_network(address):
            return self._own(address)
        node, what = self._place(address)
        if not what:
            if not any(contains(cidr, address) for cidr in self._cluster_cidrs):
                return self._outside(address)
            node = self._node.name
            what = f"in clusterCIDR, and no object tells of which node: taken for a pod of {node}"
        arrival = Arrival.POD_LINK if node == self._node.name else Arrival.UPLINK
        why = f"{address} is {what}{self._martian(address)}"
        return Sender(address=address, arrival=arrival, why=why)

    def _martian(self, address: str) -> str:
        """Tell that the proxy gets no packet from a host whose address it has bound itself."""
        if address not in self._node.bound or family_of(address) is not Family.IPV4:
            return ""
        node = self._node.name
        return (
            f", but the proxy has made it an address of {node} as well: the kernel of {node} drops"
            " what comes in from there (martian source), whatever the proxy does with it"
        )

    def _is_on_host_network(self, address: str) -> bool:
        """Tell whether a Pod shows that the node has the address, though no Node object does."""
        return any(
            pod.spec.host_network
            and pod.spec.node_name == self._node.name
            and address in _pod_addresses(pod)
            for pod in self._of(Pod)
        )

    def _place(self, address: str) -> tuple[str, str]:
        """Return the node that a sender elsewhere or in a pod is on, and what it is, or "", ""."""
        for node in self._of(Node):
            if address in _addresses(node):
                return "", f"the node {node.metadata.name}"
        for pod in self._of(Pod):
            if address in _pod_addresses(pod):
                return pod.spec.node_name, f"the pod {_name(pod)} on {pod.spec.node_name or '?'}"
        for each in self._of(EndpointSlice):
            for endpoint in each.endpoints:
                if endpoint.node_name and address in endpoint.addresses[:1]:
                    name = endpoint.target_ref.name if endpoint.target_ref else ""
                    what = f"the pod {name}" if name else "an endpoint"
                    return endpoint.node_name, f"{what} on {endpoint.node_name}"
        parsed = ipaddress.ip_address(address)
        for node in self._of(Node):
            if any(parsed in cidr for cidr in pod_networks(node)):
                name = node.metadata.name
                return name, f"a pod on {name}, by the Node's podCIDRs"
        return "", ""

    def _named(self, name: str, family: Family) -> Sender | None:
        for node in self._of(Node):
            if node.metadata.name == name:
                own = [each for each in _addresses(node) if family_of(each) is family]
                return self._at(own[0], named=True) if own else None
        called = self._called(name)
        if len(called) > 1:
            raise BadInput(
                [f"--from: there are several Pods {name}: {', '.join(sorted(called))}"],
                remedy="give the namespace, too",
            )
        for addresses in called.values():
            own = [each for each in addresses if family_of(each) is family]
            return self._at(own[0], named=True) if own else None
        return None

    def _called(self, name: str) -> dict[str, list[str]]:
        """Return the addresses of the Pods of a name, by namespace and name, as their own objects
        and EndpointSlices know them.
        """
        found: dict[str, list[str]] = {}
        for pod in self._of(Pod):
            if name in (_name(pod), pod.metadata.name):
                found.setdefault(_name(pod), []).extend(_pod_addresses(pod))
        for each in self._of(EndpointSlice):
            for endpoint in each.endpoints:
                target = endpoint.target_ref
                first = next(iter(endpoint.addresses), "")
                if target is None or not parse_ip(first) or target.kind not in ("", "Pod"):
                    continue  # in a slice of type FQDN it is a name
                full = f"{each.metadata.namespace}/{target.name}"
                if name in (full, target.name):
                    found.setdefault(full, []).append(first)
        return found

    def _mentioned(self) -> Iterator[str]:
        """Yield all addresses and CIDRs of the objects but source ranges, and "": they are
        canonical already.
        """
        for service in self._of(Service):
            spec = service.spec
            ingress = (each.ip for each in service.status.load_balancer.ingress)
            yield from (spec.cluster_ip, *spec.cluster_ips, *spec.external_ips, *ingress)
        for node in self._of(Node):
            yield from _addresses(node)
            yield from map(str, pod_networks(node))
        for each in self._of(EndpointSlice):
            for endpoint in each.endpoints:
                yield from endpoint.addresses[:1]

    def _source_ranges(self) -> Iterator[str]:
        for service in self._of(Service):
            yield from service.spec.load_balancer_source_ranges

    def _of(self, kind: type[_Kind]) -> Iterator[_Kind]:
        return (each for each in self._objects if isinstance(each, kind))


def pod_networks(node: Node) -> list[Network]:
    """Return the CIDRs of a node's pods."""
    return [cidr for text in pod_cidrs(node) if (cidr := parse_cidr(text))]


def _free(cidrs: Iterable[str], taken: Collection[str]) -> Iterator[str]:
    """Yield addresses of CIDRs that are not taken: high ones, which fewer objects have."""
    for each in cidrs:
        addresses = ipaddress.ip_network(each)
        for number in range(min(_TRIED, addresses.num_addresses - 2), 0, -1):
            if (address := str(addresses[number])) not in taken:
                yield address


def _addresses(node: Node) -> list[str]:
    return [str(ip) for each in node.status.addresses if (ip := parse_ip(each.address))]


def _pod_addresses(pod: Pod) -> list[str]:
    if pod.status.phase in _ENDED:
        return []
    texts = (pod.status.pod_ip, *(each.ip for each in pod.status.pod_ips))
    return [str(ip) for text in dict.fromkeys(texts) if (ip := parse_ip(text))]


def _name(pod: Pod) -> str:
    return f"{pod.metadata.namespace}/{pod.metadata.name}"
