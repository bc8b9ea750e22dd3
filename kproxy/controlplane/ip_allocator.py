"""Cluster IPs of one family, from its service CIDRs.

Source: pkg/registry/core/service/ipallocator of Kubernetes (cidrallocator.go, ipallocator.go);
KEP-1880 for several ranges, KEP-3070 for the bands
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from random import Random

from kproxy.address import Family, family_of_parsed
from kproxy.api.addresses import Address, Network, parse_cidr, parse_ip
from kproxy.controlplane.pool import Pool, static_band
from kproxy.errors import BadInput

_LARGEST_IPV6 = 64  # the API server's shortest prefix of a range


class IPAllocator:
    """Allocates addresses from any of its ranges, which may overlap.

    The network address of a range is never allocated, nor is the broadcast address of an IPv4 one.
    Refusals are `BadInput` in the words of Kubernetes, without the field, which the caller adds.
    """

    def __init__(self, family: Family, random: Random) -> None:
        self.family = family
        self._random = random
        self._taken: set[int] = set()
        self._pools: list[Pool] = []

    @property
    def free(self) -> int:
        """The number of free addresses; those in two ranges count twice."""
        return sum(each.free for each in self._pools)

    def use(self, cidrs: Iterable[str]) -> None:
        """Allocate from those of `cidrs` that are usable and of this family from now on.

        What is allocated already stays so. Raises BadInput if one is no CIDR.
        """
        networks = [_network(each) for each in dict.fromkeys(cidrs)]
        self._pools = [
            self._pool(each)
            for each in networks
            if family_of_parsed(each) is self.family and is_usable(each)
        ]

    def allocate(self, address: str) -> None:
        """Allocate this address. Raises BadInput if it is allocated already or out of range."""
        number = self._number(address)
        if number is None or not any(number in each for each in self._pools):
            raise BadInput(["the provided network does not match the current range"])
        if number in self._taken:
            raise BadInput(["provided IP is already allocated"])
        self._taken.add(number)

    def allocate_next(self) -> str:
        """Allocate any free address of a range, first from its upper band.

        Raises BadInput if none is free. The ranges are tried in random order.
        """
        pools = list(self._pools)
        self._random.shuffle(pools)
        for each in pools:
            if (number := each.take_next()) is not None:
                return str(self._address(number))
        raise BadInput(["range is full"])

    def reserve(self, address: str) -> None:
        """Take an address, which others hold, out of use, in range or not."""
        if (number := self._number(address)) is not None:
            self._taken.add(number)

    def release(self, address: str) -> None:
        """Free an address. One that is free already or out of range is no error."""
        if (number := self._number(address)) is not None:
            self._taken.discard(number)

    def _pool(self, network: Network) -> Pool:
        size = network.num_addresses
        spared = 1 if self.family is Family.IPV6 else 2
        usable = min(max(size - spared, 0), sys.maxsize)  # the API server counts in 63 bits, too
        band = static_band(size, divisor=16, most=256)
        first = int(network.network_address) + 1
        return Pool(usable, band, self._random, first=first, taken=self._taken)

    def _address(self, number: int) -> Address:
        return IPv6Address(number) if self.family is Family.IPV6 else IPv4Address(number)

    def _number(self, address: str) -> int | None:
        """Return the number of an address, however it is written; None if of another family."""
        found = parse_ip(address)
        return int(found) if found and family_of_parsed(found) is self.family else None


def is_usable(network: Network) -> bool:
    """Tell whether addresses are allocated from a range: not from an IPv6 one of over 64 bits."""
    return network.version == 4 or network.prefixlen >= _LARGEST_IPV6


def family_of_cidr(cidr: str) -> Family:
    """Return the family of a range. Raises BadInput if it is no CIDR."""
    return family_of_parsed(_network(cidr))


def _network(cidr: str) -> Network:
    network = parse_cidr(cidr)
    if network is None:
        raise BadInput([f"invalid CIDR address: {cidr}"])
    return network
