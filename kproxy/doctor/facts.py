"""The facts that checks judge: objects, and what the kernels of hosts hold. All but the store are
values; a field that is None is not known, and `Facts.missing` says why.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple, TypeVar

from msgspec import Struct

from kproxy.address import Family, family_of
from kproxy.api.types import Node, Pod, Service
from kproxy.controlplane import members
from kproxy.doctor.finding import Missing, Part
from kproxy.store import ObjectKey, ServiceKey, Store

_Label = tuple[str, str, str]  # namespace, key, value
_T = TypeVar("_T")


class HostKind(enum.Enum):
    NODE = "node"
    POD = "pod"


class Listener(NamedTuple):
    """A socket that takes connections or datagrams; `address` is "0.0.0.0" or "::" for all."""

    protocol: str
    address: str
    port: int


class LinkFacts(Struct, frozen=True, kw_only=True):
    """A link. `master`: the name of its bridge, or "". `underlay`: the address that a tunnel sends
    from, or "". `hairpin`: as a port, it may send back what came in by it.
    """

    name: str
    kind: str
    mtu: int
    master: str = ""
    hairpin: bool = False
    promiscuous: bool = False
    underlay: str = ""
    addresses: frozenset[str] = frozenset()


class RuleTable(Struct, frozen=True, kw_only=True):
    """A table of iptables, of either variant: rules by chain, without "-A CHAIN ", and the policies
    of built-in chains. `command` prints it.
    """

    family: Family
    variant: str
    name: str
    command: str
    chains: Mapping[str, tuple[str, ...]]
    policies: Mapping[str, str]


class BaseChain(Struct, frozen=True, kw_only=True):
    """A base chain of nftables that no proxy and no iptables has made.

    `rules`: those that it leads to, as far as they end a packet's way or change it: what they do,
    and their text. `saved`: all chains of the table as iptables-save would print them; a condition
    other than an address is the word `--nft` there.
    """

    family: str
    table: str
    name: str
    type: str
    hook: str
    priority: int
    policy: str
    rules: tuple[tuple[str, str], ...]
    saved: Mapping[str, tuple[str, ...]]


class InForce(NamedTuple):
    """Rules of a mode. `variant`: of iptables, or ""."""

    mode: str
    family: Family
    variant: str

    def __str__(self) -> str:
        return f"{self.mode} mode" + (f" ({self.variant})" if self.variant else "")


class Conntrack(NamedTuple):
    """The number of entries of a host's table, and how many it may have."""

    entries: int
    most: int


class Difference(NamedTuple):
    """A chain, set or map whose contents are not what a full sync would write."""

    family: Family
    table: str
    name: str
    lacking: tuple[str, ...]
    foreign: tuple[str, ...]


class HostFacts(Struct, frozen=True, kw_only=True):
    """The kernel of one host.

    `node`: of a pod. `settings`: those of /proc/sys that checks ask for, as far as they exist.
    `running`: the proxies at work here. `unsupported`: what a mode lacks here, and the remedy.
    """

    name: str
    kind: HostKind
    node: str = ""
    addresses: frozenset[str] | None = None
    links: tuple[LinkFacts, ...] | None = None
    settings: Mapping[str, str] | None = None
    conntrack: Conntrack | None = None
    reverse_path_drops: int | None = None
    tables: tuple[RuleTable, ...] | None = None
    base_chains: tuple[BaseChain, ...] | None = None
    in_force: tuple[InForce, ...] | None = None
    running: tuple[str, ...] | None = None
    unsupported: tuple[tuple[str, str], ...] | None = None
    differences: tuple[Difference, ...] | None = None
    listeners: frozenset[Listener] | None = None
    nameservers: tuple[str, ...] | None = None

    def setting(self, name: str) -> str:
        """Return a setting's value, "" if it does not exist or is not known."""
        return (self.settings or {}).get(name, "")


class Resolved(Struct, frozen=True, kw_only=True):
    """A DNS question that a host asked. `answers` is None without an answer; `problem` says why."""

    host: str
    nameserver: str
    name: str
    answers: frozenset[str] | None
    problem: str = ""


class Template(Struct, frozen=True):
    """The Pods that a workload makes, as one that has no name and never ran; the workload is its
    controller. `replicas`: how many of them, if it says so.
    """

    kind: str
    name: str
    pod: Pod
    replicas: int | None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Facts(Struct, frozen=True, kw_only=True, dict=True):
    """All that is known.

    `told`: what controllers, the scheduler and kubelets say, by object. `clients`: addresses
    outside, where all clients are known. `forwards_itself`: the proxies in force pass on traffic in
    their own processes.
    """

    store: Store
    hosts: tuple[HostFacts, ...] = ()
    templates: tuple[Template, ...] = ()
    resolved: tuple[Resolved, ...] = ()
    told: Mapping[ObjectKey, tuple[str, ...]] = {}
    clients: frozenset[str] = frozenset()
    not_run: frozenset[ObjectKey] = frozenset()
    """Workloads that were applied to a lab, which has no such kind."""
    api_server: str = ""
    """What is wrong with the access to the API server, "" for nothing."""
    api_server_remedy: str = ""
    forwards_itself: bool = False
    falls_back: bool | None = None
    """Whether the proxies lead what a policy Local keeps here to endpoints of other nodes."""
    missing: tuple[Missing, ...] = ()

    @cached_property
    def services(self) -> tuple[Service, ...]:
        """All Services by namespace and name."""
        found = (self.store.service(key) for key in sorted(self.store.services()))
        return tuple(each for each in found if each)

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        return tuple(self.store.pods())

    @cached_property
    def pod_nodes(self) -> Mapping[str, tuple[Pod, ...]]:
        """The Pods with addresses of their own, by node."""
        found: dict[str, list[Pod]] = {}
        for pod in self.pods:
            if pod.status.pod_ips and not pod.spec.host_network:
                found.setdefault(pod.spec.node_name, []).append(pod)
        return {node: tuple(pods) for node, pods in found.items()}

    @property
    def cluster_nodes(self) -> tuple[Node, ...]:
        """All Node objects by name."""
        return tuple(self.store.nodes())

    @cached_property
    def dns_services(self) -> tuple[Service, ...]:
        """The Services of the cluster's DNS, as kubeadm and most distributions name them."""
        return tuple(each for each in self.services if _is_dns(each))

    @property
    def nodes(self) -> Iterator[HostFacts]:
        """The nodes whose kernels are known."""
        return (host for host in self.hosts if host.kind is HostKind.NODE)

    @cached_property
    def _pods_by_label(self) -> Mapping[_Label, list[Pod]]:
        return _by_label((pod, pod) for pod in self.pods)

    @cached_property
    def _templates_by_label(self) -> Mapping[_Label, list[Template]]:
        return _by_label((each.pod, each) for each in self.templates)

    @cached_property
    def _by_address(self) -> Mapping[tuple[HostKind, str], HostFacts]:
        return {
            (host.kind, address): host for host in self.hosts for address in host.addresses or ()
        }

    def selected(self, service: Service) -> list[Pod]:
        """Return the Pods that a Service selects, in about the time that it takes to list them."""
        return members.selected(service, _candidates(service, self._pods_by_label))

    def selected_templates(self, service: Service) -> list[Template]:
        """Return the workloads that would make Pods for a Service, as fast as `selected`."""
        found = _candidates(service, self._templates_by_label)
        return [each for each in found if members.selected(service, [each.pod])]

    def pod_host(self, pod: Pod) -> HostFacts | None:
        """Return the host that a Pod is; that of its node on the host network. None: not known."""
        kind = HostKind.NODE if pod.spec.host_network else HostKind.POD
        found = (self._by_address.get((kind, each.ip)) for each in pod.status.pod_ips)
        return next(filter(None, found), None)

    def knows(self, part: Part) -> bool:
        """Tell whether a part of the facts is known anywhere."""
        return not any(each.part is part and not each.where for each in self.missing)


def _by_label(labelled: Iterable[tuple[Pod, _T]]) -> dict[_Label, list[_T]]:
    """Return values by each label of a Pod, in its namespace."""
    found: dict[_Label, list[_T]] = {}
    for pod, value in labelled:
        for key, text in pod.metadata.labels.items():
            found.setdefault((pod.metadata.namespace, key, text), []).append(value)
    return found


def _candidates(service: Service, by_label: Mapping[_Label, list[_T]]) -> list[_T]:
    """Return those that have the rarest label of a Service's selector; none without a selector."""
    namespace = service.metadata.namespace
    found = [by_label.get((namespace, *each), []) for each in service.spec.selector.items()]
    return min(found, key=lambda each: len(each), default=[])


def _is_dns(service: Service) -> bool:
    meta = service.metadata
    labelled = meta.labels.get("k8s-app") == "kube-dns"
    return meta.namespace == "kube-system" and (meta.name == "kube-dns" or labelled)


def pod_address(facts: Facts, node: str, family: Family) -> str:
    """Return the address of a Pod on a node, "" if there is none."""
    for pod in facts.pod_nodes.get(node, ()):
        for each in pod.status.pod_ips:
            if family_of(each.ip) is family:
                return each.ip
    return ""


def key_of(service: Service) -> ServiceKey:
    return (service.metadata.namespace, service.metadata.name)


def title(kind: str, namespace: str, name: str) -> str:
    """Return the name of an object as reports write it, such as `Service default/web`."""
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def service_title(service: Service) -> str:
    return title("Service", *key_of(service))


def pod_title(pod: Pod) -> str:
    """Return the name of a Pod; of one in a template, that of the workload."""
    meta = pod.metadata
    for owner in () if meta.name else meta.owner_references:
        return title(owner.kind, meta.namespace, owner.name)
    return title("Pod", meta.namespace, meta.name)


def listed(names: list[str] | tuple[str, ...], most: int = 5) -> str:
    """Return names as a list in words, cut to `most`."""
    shown = list(names[:most])
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
