"""Virtual servers and real servers: from the state of the kernel to the desired one.

An unwanted real server of TCP gets weight 0: no new connection reaches it, and it is deleted when
its connections have ended. UDP and SCTP have no end that IPVS would see, so there it is deleted at
once; with the setting expire_nodest_conn its flows end at their next packet.
Source: kube-proxy v1.36 ipvs/proxier.go (syncService, syncEndpoint), graceful_termination.go.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from kproxy.address import Family
from kproxy.api.addresses import Network, parse_ip
from kproxy.kernel.ipvs import Batch, Ipvs, RealServer, Settings, VirtualServer
from kproxy_ipvs.desired import Desired, ServerChange
from kproxy_ipvs.wanted import Server

DRAIN_INTERVAL_S = 60.0  # kube-proxy's
Weights = Mapping[RealServer, int]


class Servers:
    """The virtual servers of one family, and the real servers that are being drained."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self.draining: dict[VirtualServer, set[RealServer]] = {}
        self.requests = 0  # sent so far
        self._drain_at = math.inf

    def take_over(self, ipvs: Ipvs, desired: Desired, excluded: Iterable[Network]) -> None:
        """Bring the kernel from any state to the desired one.

        Unwanted virtual servers are deleted, unless their address is in `excluded`.
        """
        self.draining.clear()
        excluded = tuple(excluded)
        present = ipvs.virtual_servers(self._family)
        batch, removal = Batch(), Batch()
        leaving: dict[VirtualServer, set[RealServer]] = {}
        for key in desired.servers():
            after = desired.server(key)
            assert after
            settings = present.get(key)
            loads = ipvs.real_servers(key) if settings else {}
            # Whatever is unusual about a real server is changed together with its weight.
            weights = {real: load.weight if load.usual else -1 for real, load in loads.items()}
            leaving[key] = _edit(batch, key, settings, weights, after)
        for key in present.keys() - desired.servers():
            if not any(parse_ip(key.address) in network for network in excluded):
                removal.delete(key)
        self._send(ipvs, batch)
        self._send(ipvs, removal)
        self._drain(ipvs, leaving)

    def change(self, ipvs: Ipvs, changes: Iterable[ServerChange]) -> None:
        """Follow a change of the desired state; the former one must be in the kernel."""
        batch, removal = Batch(), Batch()
        leaving: dict[VirtualServer, set[RealServer]] = {}
        for key, before, after in changes:
            draining = self.draining.pop(key, set())
            if after is None:
                removal.delete(key)
                continue
            weights = dict.fromkeys(before.real, 1) if before else {}
            weights |= dict.fromkeys(draining, 0)
            settings = before.settings if before else None
            leaving[key] = _edit(batch, key, settings, weights, after)
        self._send(ipvs, batch)
        self._send(ipvs, removal)
        self._drain(ipvs, leaving)

    def drain_if_due(self, ipvs: Ipvs, now: float) -> float:
        """Once a minute, delete the real servers whose connections have ended since.

        Return the seconds until the next call is due; 0 if nothing is being drained.
        """
        if self._drain_at <= now:
            draining, self.draining = self.draining, {}
            self._drain(ipvs, draining)
            self._drain_at = math.inf
        if not self.draining:
            self._drain_at = math.inf
            return 0
        self._drain_at = min(self._drain_at, now + DRAIN_INTERVAL_S)
        return self._drain_at - now

    def _drain(self, ipvs: Ipvs, leaving: Mapping[VirtualServer, set[RealServer]]) -> None:
        batch = Batch()
        for key, reals in leaving.items():
            if not reals:
                continue
            loads = ipvs.real_servers(key)
            for real in reals & loads.keys():
                if loads[real].active + loads[real].inactive:
                    self.draining.setdefault(key, set()).add(real)
                else:
                    batch.delete_real(key, real)
        self._send(ipvs, batch)

    def _send(self, ipvs: Ipvs, batch: Batch) -> None:
        if batch:
            ipvs.apply(batch)
            self.requests += len(batch)


def _edit(
    batch: Batch, key: VirtualServer, settings: Settings | None, weights: Weights, after: Server
) -> set[RealServer]:
    """Add the requests that change a virtual server and its real servers to `after`.

    Return the real servers left to be drained, which have weight 0 then.
    """
    if settings is None:
        batch.add(key, after.settings)
    elif settings != after.settings:
        batch.edit(key, after.settings)
    for real in after.real:
        if real not in weights:
            batch.add_real(key, real, 1)
        elif weights[real] != 1:
            batch.edit_real(key, real, 1)
    leaving = weights.keys() - set(after.real)
    if key.protocol != "TCP":
        for real in leaving:
            batch.delete_real(key, real)
        return set()
    # Weight 0 first; connections are counted later, so that none can start in between.
    for real in leaving:
        if weights[real]:
            batch.edit_real(key, real, 0)
    return leaving
