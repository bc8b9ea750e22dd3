"""The figures of nftables mode.

Source: kube-proxy v1.36 metrics/metrics.go; KEP-6032 for localhost node ports.
"""

from __future__ import annotations

from kproxy.backend import Metric, MetricKind

SYNC_FAILURES = Metric(
    name="kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
    kind=MetricKind.COUNTER,
    help="Transactions that the kernel has refused.",
    labels=("ip_family",),
)
CLEANUP_FAILURES = Metric(
    name="kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total",
    kind=MetricKind.COUNTER,
    help="Refused deletions of unused chains; always 0, because they are part of the sync.",
    labels=("ip_family",),
)
LISTENERS = Metric(
    name="kubeproxy_nftables_localhost_nodeport_listeners",
    kind=MetricKind.GAUGE,
    help="Listeners for node ports on the loopback address.",
    labels=("ip_family",),
)
LISTENER_FAILURES = Metric(
    name="kubeproxy_nftables_localhost_nodeport_listener_creation_failures_total",
    kind=MetricKind.COUNTER,
    help="Listeners for node ports on the loopback address that could not be made.",
    labels=("ip_family",),
)
REJECTED_PACKETS = Metric(
    name="kubeproxy_nftables_localhost_nodeport_rejected_packets_total",
    kind=MetricKind.COUNTER,
    help="Packets to node ports on loopback addresses that were rejected: UDP and SCTP always, TCP"
    " where there are no listeners.",
    labels=("ip_family", "protocol"),
)
