"""Deletes, after a sync, the UDP flows that still lead to removed endpoints."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from kproxy.address import Family
from kproxy.errors import KernelRefused, Unsupported
from kproxy.forwarding.plan import Plan, ServicePlan
from kproxy.forwarding.stale_flows import Serving, stale
from kproxy.kernel import conntrack

log = logging.getLogger("kproxy")


class UdpChange(NamedTuple):
    """A family that is in step, after its UDP endpoints or service ports have changed."""

    plan: Plan
    serving: Serving
    removed: Sequence[ServicePlan]
    """UDP service ports whose flows are to be deleted as well."""


def cut_stale_flows(changes: Sequence[UdpChange]) -> dict[Family, int]:
    """Delete stale flows in the calling thread's namespace, and return how many of each family.

    A failure is logged, not raised, and counts none.
    """
    families = [plan.family for plan, _, _ in changes]
    cut = dict.fromkeys(families, 0)
    try:
        present = conntrack.flows_of(families, "UDP")
    except (KernelRefused, Unsupported, OSError) as error:
        for family in families:
            _complain(family, error)
        return cut
    for plan, serving, removed in changes:
        family = plan.family
        flows = stale(plan, serving, present[family], removed)
        if not flows:
            continue
        try:
            conntrack.forget(flows)
        except (KernelRefused, Unsupported, OSError) as error:
            _complain(family, error)
        else:
            cut[family] = len(flows)
            log.info("%s: cut %d UDP flows to removed endpoints", family.value, len(flows))
    return cut


def _complain(family: Family, error: Exception) -> None:
    log.error("%s: cannot cut UDP flows to removed endpoints: %s", family.value, error)
