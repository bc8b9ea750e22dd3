"""The figures of iptables mode. Source: kube-proxy v1.36 metrics/metrics.go, nfacct."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from kproxy.address import Family
from kproxy.backend import Figure, Metric, MetricKind
from kproxy.errors import KernelRefused
from kproxy.kernel import nfacct
from kproxy_iptables.frame import INVALID_COUNTER
from kproxy_iptables.rules import LOCALHOST_COUNTER

TABLES = ("filter", "nat")

RULES = Metric(
    name="kubeproxy_sync_proxy_rules_iptables_total",
    kind=MetricKind.GAUGE,
    help="Rules of this proxy that are in force, by table.",
    labels=("table", "ip_family"),
)
RULES_WRITTEN = Metric(
    name="kubeproxy_sync_proxy_rules_iptables_last",
    kind=MetricKind.GAUGE,
    help="Rules that the last sync has written, by table.",
    labels=("table", "ip_family"),
)
RESTORE_FAILURES = Metric(
    name="kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
    kind=MetricKind.COUNTER,
    help="Transactions that iptables or the kernel has refused.",
    labels=("ip_family",),
)
PARTIAL_RESTORE_FAILURES = Metric(
    name="kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total",
    kind=MetricKind.COUNTER,
    help="Refused transactions that would have written only what has changed.",
    labels=("ip_family",),
)
DROPPED_INVALID = Metric(
    name="kubeproxy_iptables_ct_state_invalid_dropped_packets_total",
    kind=MetricKind.COUNTER,
    help="Packets dropped because conntrack takes them for invalid.",
)
ACCEPTED_ON_LOOPBACK = Metric(
    name="kubeproxy_iptables_localhost_nodeports_accepted_packets_total",
    kind=MetricKind.COUNTER,
    help="Packets to node ports on loopback addresses that were accepted.",
)
_ACCOUNTS = {DROPPED_INVALID: INVALID_COUNTER, ACCEPTED_ON_LOOPBACK: LOCALHOST_COUNTER}


class Counts:
    """The figures of one family. Its fields are written by the thread that syncs."""

    def __init__(self, family: Family) -> None:
        self.rules: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self.restore_failures = 0
        self.partial_restore_failures = 0
        self._family = family

    def figures(self) -> Iterator[Figure]:
        """Yield the figures. Packets are counted by the kernel, if it has nfacct."""
        for table in TABLES:
            yield Figure(RULES, (table, self._family), self.rules[table])
            yield Figure(RULES_WRITTEN, (table, self._family), self.written[table])
        yield Figure(RESTORE_FAILURES, (self._family,), self.restore_failures)
        yield Figure(PARTIAL_RESTORE_FAILURES, (self._family,), self.partial_restore_failures)
        try:
            packets = nfacct.packets()
        except KernelRefused:  # no such counters, so no rule uses one
            return
        for metric, name in _ACCOUNTS.items():
            if name in packets:
                yield Figure(metric, (), packets[name])
