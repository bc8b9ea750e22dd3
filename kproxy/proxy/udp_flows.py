"""Deletes, after a sync, the UDP flows that still lead to removed endpoints."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from kproxy.errors import KernelRefused, Unsupported
from kproxy.forwarding.plan import Plan, ServicePlan
from kproxy.forwarding.stale_flows import Serving, stale
from kproxy.kernel import conntrack

log = logging.getLogger("kproxy")


def cut_stale_flows(plan: Plan, serving: Serving, removed: Sequence[ServicePlan]) -> int:
    """Delete stale flows in the calling thread's namespace, and return how many they were.

    A failure is logged, not raised, and counts none. `removed`: service ports whose flows are to be
    deleted as well.
    """
    cut = 0
    try:
        flows = stale(plan, serving, conntrack.flows(plan.family, "UDP"), removed)
        if flows:
            conntrack.forget(flows)
            cut = len(flows)
            log.info("%s: cut %d UDP flows to removed endpoints", plan.family.value, len(flows))
    except (KernelRefused, Unsupported, OSError) as error:
        log.error("%s: cannot cut UDP flows to removed endpoints: %s", plan.family.value, error)
    return cut
