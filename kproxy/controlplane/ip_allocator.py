"""Cluster IPs from one service CIDR.

Source: pkg/registry/core/service/ipallocator of Kubernetes; KEP-3070 for the bands
"""

from __future__ import annotations

import sys
from ipaddress import ip_address
from random import Random

from kproxy.address import Family, family_of_parsed
from kproxy.api.addresses import parse_cidr
from kproxy.controlplane.pool import Pool, static_band
from kproxy.errors import BadInput


class IPAllocator:
    """Allocates addresses of `cidr`, in canonical form.

    The network address is never allocated, nor is the broadcast address of an IPv4 range. Refusals
    are `BadInput` in the words of Kubernetes, without the field, which the caller adds.
    """

    def __init__(self, cidr: str, random: Random) -> None:
        network = parse_cidr(cidr)
        if network is None:
            raise BadInput([f"invalid CIDR address: {cidr}"])
        self.cidr = str(network)
        self.family = family_of_parsed(network)
        self._first = network.network_address + 1
        size = network.num_addresses
        spared = 1 if self.family is Family.IPV6 else 2
        usable = min(max(size - spared, 0), sys.maxsize)  # the API server counts in 63 bits, too
        self._pool = Pool(usable, static_band(size, divisor=16, most=256), random)

    @property
    def free(self) -> int:
        return self._pool.free

    def allocate(self, address: str) -> None:
        """Allocate this address. Raises BadInput if it is allocated already or out of range."""
        offset = self._offset(address)
        if offset is None:
            outside = f"the provided IP ({address}) is not in the valid range"
            raise BadInput([f"{outside}. The range of valid IPs is {self.cidr}"])
        if not self._pool.take(offset):
            raise BadInput(["provided IP is already allocated"])

    def allocate_next(self) -> str:
        """Allocate any free address, first from the upper band. Raises BadInput if none is free."""
        offset = self._pool.take_next()
        if offset is None:
            raise BadInput(["range is full"])
        return str(self._first + offset)

    def release(self, address: str) -> None:
        """Free an address. One that is free already or out of range is no error."""
        offset = self._offset(address)
        if offset is not None:
            self._pool.give_back(offset)

    def _offset(self, address: str) -> int | None:
        parsed = ip_address(address)
        if parsed.version != self._first.version:
            return None
        offset = int(parsed) - int(self._first)
        return offset if offset in self._pool else None
