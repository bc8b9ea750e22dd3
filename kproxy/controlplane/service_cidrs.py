"""ServiceCIDRs, the ranges of cluster IPs, and IPAddresses, which tell who holds an address.

    ServiceCIDR written -> usable at once
                deleted -> no new addresses from it, and gone once it is not needed
    Service stored      -> an IPAddress for each of its cluster IPs

Source: pkg/controller/servicecidrs, pkg/controlplane/controller/defaultservicecidr,
pkg/registry/core/service/ipallocator and pkg/apis/networking/validation of Kubernetes; KEP-1880
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from kproxy.address import family_of
from kproxy.api.addresses import Address, Network, canonical_ip, parse_cidr, parse_ip
from kproxy.api.checks import altered
from kproxy.api.types import (
    Condition,
    IPAddress,
    IPAddressSpec,
    KubernetesObject,
    Metadata,
    ParentReference,
    Service,
    ServiceCIDR,
    ServiceCIDRSpec,
    ServiceCIDRStatus,
)
from kproxy.controlplane.cluster_ip_validation import is_headless
from kproxy.controlplane.field_errors import refusal
from kproxy.controlplane.ip_allocator import is_usable
from kproxy.controlplane.metadata_validation import stored_metadata
from kproxy.controlplane.registry import Registry
from kproxy.controlplane.service_cidr_validation import (
    ip_address_problems,
    service_cidr_problems,
)
from kproxy.controlplane.service_updates import needs_cluster_ip
from kproxy.store import ObjectKey, object_key

DEFAULT: ObjectKey = ("ServiceCIDR", "", "kubernetes")
FINALIZER = "networking.k8s.io/service-cidr-finalizer"
ALLOCATOR = "ipallocator.k8s.io"
FAMILY_LABEL = "ipaddress.kubernetes.io/ip-family"
MANAGED_BY_LABEL = "ipaddress.kubernetes.io/managed-by"
IN_USE = (
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new"
    " ServiceCIDR"
)
_READY = Condition(type="Ready", status="True", message="Kubernetes Service CIDR is ready")
_TERMINATING = Condition(type="Ready", status="False", reason="Terminating", message=IN_USE)


class ServiceCIDRs:
    """The ServiceCIDRs and IPAddresses of a registry. The default ServiceCIDR always exists."""

    def __init__(self, registry: Registry, service_cidrs: Sequence[str]) -> None:
        self._registry = registry
        self._default = _ready(
            ServiceCIDR(
                metadata=Metadata(name=DEFAULT[2], namespace=""),
                spec=ServiceCIDRSpec(cidrs=tuple(str(parse_cidr(each)) for each in service_cidrs)),
            )
        )
        self._families = {family_of(each) for each in self._default.spec.cidrs}
        self._due = True
        registry.put(self._default)

    def ranges(self, written: Iterable[KubernetesObject] = ()) -> list[str]:
        """Return the ranges that addresses are allocated from once `written` is stored."""
        found = {each.metadata.name: each for each in self._registry.all(ServiceCIDR)}
        found |= {each.metadata.name: each for each in written if isinstance(each, ServiceCIDR)}
        return [
            cidr
            for each in found.values()
            if each.metadata.deletion_timestamp is None
            for cidr in each.spec.cidrs
        ]

    def all_ranges(self) -> list[str]:
        """Return the ranges that stored Services may have addresses of."""
        return [cidr for each in self._registry.all(ServiceCIDR) for cidr in each.spec.cidrs]

    def reserved(self) -> list[str]:
        """Return the addresses that belong to something that is no Service."""
        return [each.metadata.name for each in self._registry.all(IPAddress) if not _is_own(each)]

    def follow(self, former: KubernetesObject | None, now: KubernetesObject | None) -> None:
        """Note a write: keep the IPAddresses of a Service up to date."""
        if isinstance(former or now, ServiceCIDR | IPAddress):
            self._due = True
        before, after = _addresses(former), _addresses(now)
        for address in before - after:
            self._registry.remove(("IPAddress", "", address))
            self._due = True
        if isinstance(now, Service):
            for address in sorted(after - before):
                self._registry.put(_ip_address(now, address))

    def deleted(self, obj: ServiceCIDR | IPAddress, now: str) -> ServiceCIDR | IPAddress | None:
        """Return what is left of an object that a user deletes, for `reconcile` to go on with."""
        if isinstance(obj, IPAddress):
            return obj if self._holder(obj) else None
        if obj.metadata.deletion_timestamp:
            return obj
        return altered(obj, metadata=altered(obj.metadata, deletion_timestamp=now))

    def reconcile(self) -> None:
        """Remove the ServiceCIDRs that are deleted and not needed; tell the state of the others."""
        while self._due:
            self._due = False
            for each in sorted(self._registry.all(ServiceCIDR), key=object_key):
                if each.metadata.deletion_timestamp is None:
                    self._registry.put(_ready(each))
                elif self._is_needed(each):
                    conditions = ServiceCIDRStatus(conditions=(_TERMINATING,))
                    self._registry.put(altered(each, status=conditions))
                else:
                    self._registry.remove(object_key(each))
                    self._due = True
            if self._registry.get(DEFAULT) is None:
                self._registry.put(self._default)

    def warnings(self) -> dict[ObjectKey, tuple[str, ...]]:
        """Return what users may not expect of ServiceCIDRs."""
        found = {
            object_key(each): tuple(self._told(each)) for each in self._registry.all(ServiceCIDR)
        }
        return {key: told for key, told in found.items() if told}

    def _told(self, obj: ServiceCIDR) -> Iterator[str]:
        if obj.metadata.deletion_timestamp:
            yield f"it is Terminating, and no new addresses are allocated from it: {IN_USE}"
        for i, (cidr, network) in enumerate(_networks(obj)):
            field = f"spec.cidrs[{i}]: no addresses are allocated from {cidr}"
            if family_of(cidr) not in self._families:
                yield f"{field}: {family_of(cidr)} is not configured on this cluster"
            elif not is_usable(network):
                yield f"{field}: the prefix of an IPv6 range must not be shorter than 64"

    def _holder(self, obj: IPAddress) -> Service | None:
        """Return the Service that has the address, if there is one."""
        parent = obj.spec.parent_ref
        if parent is None or (parent.group, parent.resource) != ("", "services"):
            return None
        service = self._registry.service((parent.namespace, parent.name))
        return service if obj.metadata.name in _addresses(service) else None

    def _is_needed(self, obj: ServiceCIDR) -> bool:
        """Tell whether a Service's address is in this range alone.

        A range inside another one is never needed.
        """
        others = [
            network
            for each in self._registry.all(ServiceCIDR)
            if each.metadata.name != obj.metadata.name
            for _, network in _networks(each)
        ]
        own = [network for _, network in _networks(obj)]
        if all(any(_is_within(network, other) for other in others) for network in own):
            return False
        addresses = [
            address
            for each in self._registry.all(IPAddress)
            if _is_own(each) and (address := parse_ip(each.metadata.name))
        ]
        return any(
            any(_contains(network, address) for network in own)
            and not any(_contains(network, address) for network in others)
            for address in addresses
        )


def service_cidr(wanted: ServiceCIDR, former: ServiceCIDR | None) -> ServiceCIDR:
    """Return the ServiceCIDR to store.

    Raises BadInput if it is invalid, or its ranges change. One of the other family may be added.
    """
    if problems := [*service_cidr_problems(wanted, former)]:
        raise refusal(wanted, problems)
    ended = former.metadata.deletion_timestamp if former else None
    finalizers = former.metadata.finalizers if former else wanted.metadata.finalizers
    metadata = stored_metadata(wanted.metadata, former.metadata if former else None)
    metadata = altered(metadata, finalizers=finalizers)
    status = former.status if former else ServiceCIDRStatus()
    stored = altered(wanted, metadata=metadata, status=status)
    return stored if ended else _ready(stored)


def ip_address(wanted: IPAddress, former: IPAddress | None) -> IPAddress:
    """Return the IPAddress to store. Raises BadInput if it is invalid."""
    if problems := [*ip_address_problems(wanted, former)]:
        raise refusal(wanted, problems)
    return altered(wanted, metadata=altered(wanted.metadata, deletion_timestamp=None, generation=0))


def _ready(obj: ServiceCIDR) -> ServiceCIDR:
    finalizers = tuple(dict.fromkeys((*obj.metadata.finalizers, FINALIZER)))
    metadata = altered(obj.metadata, finalizers=finalizers)
    return altered(obj, metadata=metadata, status=ServiceCIDRStatus(conditions=(_READY,)))


def _ip_address(service: Service, address: str) -> IPAddress:
    labels = {FAMILY_LABEL: family_of(address).value, MANAGED_BY_LABEL: ALLOCATOR}
    meta = service.metadata
    parent = ParentReference(resource="services", namespace=meta.namespace, name=meta.name)
    return IPAddress(
        metadata=Metadata(name=address, namespace="", labels=labels),
        spec=IPAddressSpec(parent_ref=parent),
    )


def _is_own(obj: IPAddress) -> bool:
    """Tell whether the API server made the object for a Service."""
    return obj.metadata.labels.get(MANAGED_BY_LABEL) == ALLOCATOR


def _addresses(obj: KubernetesObject | None) -> frozenset[str]:
    """Return the canonical cluster IPs of a Service; none of other objects."""
    if not isinstance(obj, Service) or not needs_cluster_ip(obj.spec) or is_headless(obj.spec):
        return frozenset()
    return frozenset(map(canonical_ip, obj.spec.cluster_ips))


def _networks(obj: ServiceCIDR) -> list[tuple[str, Network]]:
    found = ((each, parse_cidr(each)) for each in obj.spec.cidrs)
    return [(text, network) for text, network in found if network]


def _is_within(network: Network, other: Network) -> bool:
    return (
        network.version == other.version
        and other.prefixlen <= network.prefixlen
        and network.network_address in other
    )


def _contains(network: Network, address: Address) -> bool:
    """Tell whether a range can allocate an address: neither its first, nor the last of IPv4."""
    if address.version != network.version or address not in network:
        return False
    last = network.broadcast_address if network.version == 4 else None
    return address not in (network.network_address, last)
