"""Endpoints (v1) in their canonical form, as Kubernetes' controllers write and mirror them.

Each address is in a subset once for each set of ports. One that is both ready and not ready there
is not ready. Source: pkg/api/v1/endpoints/util.go (RepackSubsets) of Kubernetes, v1.36
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kproxy.api.types import EndpointAddress, EndpointPort, EndpointSubset

Offers = Mapping[EndpointPort | None, Mapping[EndpointAddress, bool]]


def repacked(subsets: Iterable[EndpointSubset]) -> tuple[EndpointSubset, ...]:
    """Return the same endpoints in their canonical form.

    Addresses with the same IP and UID are one, and the first of them counts.
    """
    first: dict[tuple[str, str], EndpointAddress] = {}
    offers: dict[EndpointPort | None, dict[EndpointAddress, bool]] = {}
    for subset in subsets:
        for port in subset.ports or (None,):
            offer = offers.setdefault(port, {})
            for ready, found in ((True, subset.addresses), (False, subset.not_ready_addresses)):
                for each in found:
                    uid = each.target_ref.uid if each.target_ref else ""
                    address = first.setdefault((each.ip, uid), each)
                    offer[address] = offer.get(address, True) and ready
    return packed(offers)


def packed(offers: Offers) -> tuple[EndpointSubset, ...]:
    """Return the subsets for ports and the addresses that offer each, with whether it is ready.

    Ports that the same addresses offer share a subset; None stands for endpoints without ports.
    Addresses are in the order of their texts.
    """
    shared: dict[frozenset[tuple[EndpointAddress, bool]], list[EndpointPort]] = {}
    for port, offer in offers.items():
        if offer:
            shared.setdefault(frozenset(offer.items()), []).extend([port] if port else [])
    subsets = [
        EndpointSubset(
            addresses=_sorted(address for address, ready in found if ready),
            not_ready_addresses=_sorted(address for address, ready in found if not ready),
            ports=tuple(sorted(ports, key=_port_order)),
        )
        for found, ports in shared.items()
    ]
    return tuple(sorted(subsets, key=lambda each: [_port_order(port) for port in each.ports]))


def _sorted(addresses: Iterable[EndpointAddress]) -> tuple[EndpointAddress, ...]:
    return tuple(sorted(addresses, key=_address_order))


def _address_order(address: EndpointAddress) -> tuple[str, str]:
    return address.ip, address.target_ref.name if address.target_ref else ""


def _port_order(port: EndpointPort) -> tuple[str, str, int]:
    return port.name, port.protocol, port.port or 0
