"""Node ports and health check node ports, from one range.

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
    """Refusals are `BadInput` in the words of Kubernetes, without the field."""

    def __init__(self, random: Random, ports: range = NODE_PORTS) -> None:
        self._ports = ports
        self._pool = Pool(len(ports), static_band(len(ports), divisor=32, most=128), random)

    @property
    def free(self) -> int:
        return self._pool.free

    def allocate(self, port: int) -> None:
        """Take this port; `BadInput` if it is taken or none of the range."""
        if port not in self._ports:
            valid = f"{self._ports.start}-{self._ports.stop - 1}"
            outside = "provided port is not in the valid range"
            raise BadInput([f"{outside}. The range of valid ports is {valid}"])
        if not self._pool.take(self._ports.index(port)):
            raise BadInput(["provided port is already allocated"])

    def allocate_next(self) -> int:
        """Any free port, from the upper band while it lasts; `BadInput` if there is none."""
        offset = self._pool.take_next()
        if offset is None:
            raise BadInput(["range is full"])
        return self._ports[offset]

    def release(self, port: int) -> None:
        """A port that is free, or none of the range, is no error."""
        if port in self._ports:
            self._pool.give_back(self._ports.index(port))
