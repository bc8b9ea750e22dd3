"""After a sync: cut the UDP flows that still lead to removed endpoints."""

from __future__ import annotations

import logging

from kproxy.errors import KernelRefused, Unsupported
from kproxy.forwarding.plan import Plan
from kproxy.forwarding.stale_flows import Serving, stale
from kproxy.kernel import conntrack

log = logging.getLogger("kproxy")


def cut_stale_flows(plan: Plan, serving: Serving) -> None:
    """In the calling thread's namespace. A failure is logged: the rules are in force anyway."""
    try:
        doomed = stale(plan, serving, conntrack.flows(plan.family, "UDP"))
        if doomed:
            conntrack.forget(doomed)
            log.info("%s: cut %d UDP flows to removed endpoints", plan.family.value, len(doomed))
    except (KernelRefused, Unsupported, OSError) as error:
        log.error("%s: UDP flows to removed endpoints go on: %s", plan.family.value, error)
