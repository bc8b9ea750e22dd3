"""UDP clients that keep sending from one port, when what they ask goes away. Pure.

No rule decides what becomes of them, but whether the proxy cuts the flows that conntrack knows.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from msgspec import Struct

from kproxy.address import Family
from kproxy.forwarding.plan import Plan, ServicePortName
from kproxy.upgrade.side import Configured
from kproxy.versions import CUTS_REMOVED_UDP, CUTS_UNSERVED_UDP


class Event(enum.Enum):
    """The end of a Service that a client uses; the value is in words."""

    ENDPOINTS_GO = "its endpoints go"
    SERVICE_GOES = "the Service goes"


class Lasting(Struct, frozen=True, kw_only=True):
    """A client of a cluster IP, and whether a removed endpoint still answers it after the event."""

    service: ServicePortName
    family: Family
    event: Event
    before: bool
    after: bool


def still_answered(side: Configured, event: Event) -> bool:
    """Tell whether a flow goes on. IPVS ends those to servers that it no longer has by itself, and
    a proxy that forwards itself has no flows in conntrack.
    """
    if side.mode.needs_ip_vs or side.mode.forwards_itself:
        return False
    cuts = CUTS_UNSERVED_UDP if event is Event.ENDPOINTS_GO else CUTS_REMOVED_UDP
    return not side.side.version.has(cuts)


def lasting_differences(
    plans: Mapping[Family, Mapping[str, Plan]], before: Configured, after: Configured
) -> list[Lasting]:
    """Return the clients of UDP service ports with endpoints for whom something changes. `plans`
    are those of either side, by family and node.
    """
    found = []
    for event in Event:
        one, other = (still_answered(side, event) for side in (before, after))
        if one == other:
            continue
        for family, of_nodes in plans.items():
            services = next(iter(of_nodes.values())).services.values()
            found += [
                Lasting(service=each.name, family=family, event=event, before=one, after=other)
                for each in services
                if each.protocol == "UDP" and each.cluster and not each.internal_local
            ]
    return found
