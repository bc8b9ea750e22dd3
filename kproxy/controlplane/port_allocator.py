"""Allocates node ports and health check node ports from one range.

A number belongs to one Service whatever the protocol; only within a Service may ports of different
protocols have the same one.
Source: pkg/registry/core/service/portallocator of Kubernetes; KEP-3668 for the bands
"""

from __future__ import annotations

from random import Random

from kproxy.controlplane.pool import Pool, static_band
from kproxy.errors import BadInput

NODE_PORTS = range(30000, 32768)  # --service-node-port-range


class PortAllocator:
    """Allocates ports. Refusals are `BadInput` in the words of Kubernetes, without the field."""

    def __init__(self, random: Random, ports: range = NODE_PORTS) -> None:
        self._ports = ports
        self._pool = Pool(len(ports), static_band(len(ports), divisor=32, most=128), random)

    @property
    def free(self) -> int:
        return self._pool.free

    def allocate(self, port: int) -> None:
        """Allocate this port. Raises BadInput if it is allocated already or out of range."""
        if port not in self._ports:
            valid = f"{self._ports.start}-{self._ports.stop - 1}"
            outside = "provided port is not in the valid range"
            raise BadInput([f"{outside}. The range of valid ports is {valid}"])
        if not self._pool.take(self._ports.index(port)):
            raise BadInput(["provided port is already allocated"])

    def allocate_next(self) -> int:
        """Allocate any free port, first from the upper band. Raises BadInput if none is free."""
        offset = self._pool.take_next()
        if offset is None:
            raise BadInput(["range is full"])
        return self._ports[offset]

    def release(self, port: int) -> None:
        """Free a port. One that is free already or out of range is no error."""
        if port in self._ports:
            self._pool.give_back(self._ports.index(port))
