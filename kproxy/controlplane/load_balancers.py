"""The load balancer controller: assigns addresses from pools to Services of type LoadBalancer.

It does what a cloud or MetalLB does in a cluster with addresses. A Service is stored without a
status first, and is pending until an address is written there. Each family of the Service gets
the lowest free address of its pool; `spec.loadBalancerIP` is honoured or the Service is pending.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from kproxy.address import Family, family_of, family_of_parsed
from kproxy.api.addresses import canonical_ip, parse_cidr
from kproxy.api.checks import altered
from kproxy.api.problems import shown
from kproxy.api.types import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServiceStatus,
)
from kproxy.controlplane import members
from kproxy.errors import BadInput
from kproxy.store import ServiceKey

_PENDING = "status.loadBalancer is pending"


class _Pool:
    """A pool of addresses. Network and broadcast address are used only if there are no others."""

    def __init__(self, cidr: str) -> None:
        network = parse_cidr(cidr)
        if network is None:
            raise BadInput([f"load balancer pool {cidr}: not a CIDR such as 203.0.113.0/24"])
        self.cidr = str(network)
        self.family = family_of_parsed(network)
        self._version = network.version
        first, size = int(network.network_address), network.num_addresses
        spared = 1 if size > 2 else 0
        self._numbers = range(first + spared, first + size - (spared if self._version == 4 else 0))
        self._taken: set[int] = set()

    def take(self, address: str) -> str:
        """Take an address; return why that is impossible, or ""."""
        parsed = ip_address(address)
        if parsed.version != self._version or int(parsed) not in self._numbers:
            return f"{address} is not in the pool {self.cidr}"
        if int(parsed) in self._taken:
            return f"{address} belongs to another Service already"
        self._taken.add(int(parsed))
        return ""

    def take_next(self) -> str:
        """Take and return the lowest free address; "" if there is none."""
        for number in self._numbers:
            if number not in self._taken:
                self._taken.add(number)
                return str(ip_address(number.to_bytes(4 if self._version == 4 else 16)))
        return ""

    def give_back(self, address: str) -> None:
        self._taken.discard(int(ip_address(address)))


@dataclass(slots=True, kw_only=True)
class _Held:
    """Addresses held by one Service. `by_hand` means a status from its manifest, which stays."""

    by_hand: bool = False
    addresses: dict[Family, str] = field(default_factory=dict)


class LoadBalancers:
    """The controller. `cidrs` are its pools, at most one per family; without any it is idle."""

    def __init__(self, cidrs: Sequence[str]) -> None:
        pools = [_Pool(each) for each in cidrs]
        self._pools = {each.family: each for each in pools}
        if len(self._pools) < len(pools):
            raise BadInput(["load balancer pools must be of different IP family"])
        self._held: dict[ServiceKey, _Held] = {}

    def assign(self, service: Service) -> tuple[Service, tuple[str, ...]]:
        """Return the Service with its status, and warnings. Repeating it changes nothing.

        What the Service held and no longer needs is free afterwards.
        """
        key = (service.metadata.namespace, service.metadata.name)
        held = self._held.get(key)
        if service.spec.type != "LoadBalancer":
            self.release(key)
            return service, ()
        if held is None and service.status.load_balancer.ingress:
            return service, self._adopt(key, service)
        if held and held.by_hand:
            return service, ()
        if wanted := service.spec.load_balancer_class:
            told = f"{_PENDING}: no controller serves spec.loadBalancerClass {wanted!r}"
            return (_with(service) if self.release(key) else service), (told,)
        held = self._held.setdefault(key, _Held())
        warnings = self._fill(held, service)
        if not held.addresses:
            del self._held[key]
        families = members.families(service)
        found = (held.addresses[each] for each in families if each in held.addresses)
        return _with(service, *found), warnings

    def release(self, key: ServiceKey) -> bool:
        """Free a Service's addresses once it needs none; return whether it had any."""
        held = self._held.pop(key, None)
        if held is None:
            return False
        for family in list(held.addresses):
            self._give_back(held, family)
        return True

    def _adopt(self, key: ServiceKey, service: Service) -> tuple[str, ...]:
        held = self._held[key] = _Held(by_hand=True)
        warnings = []
        for i, each in enumerate(service.status.load_balancer.ingress):
            if not each.ip:
                continue
            family = family_of(each.ip)
            if family not in self._pools or family in held.addresses:
                continue
            problem = self._pools[family].take(each.ip)
            if not problem:
                held.addresses[family] = each.ip
            elif "another" in problem:
                warnings.append(f"status.loadBalancer.ingress[{i}].ip: {problem}")
        return tuple(warnings)

    def _fill(self, held: _Held, service: Service) -> tuple[str, ...]:
        families = members.families(service)
        stated = service.spec.load_balancer_ip  # the API server stores any text
        asked = canonical_ip(stated)
        for family in list(held.addresses):
            unasked = asked and family_of(asked) == family and held.addresses[family] != asked
            if family not in families or unasked:
                self._give_back(held, family)
        problem = f"{shown(stated)} is not an IP address" if stated and not asked else ""
        if asked:
            problem = self._request(held, asked, families)
        if problem:
            for family in list(held.addresses):
                self._give_back(held, family)
            return (f"{_PENDING}: spec.loadBalancerIP: {problem}",)
        warnings = []
        for family in families:
            if family in held.addresses:
                continue
            pool = self._pools.get(family)
            address = pool.take_next() if pool else ""
            if address:
                held.addresses[family] = address
            elif pool:
                warnings.append(f"the pool {pool.cidr} has no free address")
            else:
                warnings.append(f"there is no pool of {family} addresses")
        so = "" if held.addresses else f"{_PENDING}: "
        return tuple(so + each for each in warnings)

    def _request(self, held: _Held, asked: str, families: Sequence[Family]) -> str:
        family = family_of(asked)
        if family in held.addresses:
            return ""
        if family not in families:
            return f"{asked} is not of a family that the Service has"
        pool = self._pools.get(family)
        problem = pool.take(asked) if pool else f"there is no pool of {family} addresses"
        if not problem:
            held.addresses[family] = asked
        return problem

    def _give_back(self, held: _Held, family: Family) -> None:
        self._pools[family].give_back(held.addresses.pop(family))


def _with(service: Service, *addresses: str) -> Service:
    ingress = tuple(LoadBalancerIngress(ip=each, ip_mode="VIP") for each in addresses)
    status = ServiceStatus(load_balancer=LoadBalancerStatus(ingress=ingress))
    return altered(service, status=status)
