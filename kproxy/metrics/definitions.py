"""The metrics that a proxy has in every mode; those of one mode are with its backend.

Source: kube-proxy v1.36 pkg/proxy/metrics/metrics.go; component-base and client-go for others.
"""

from __future__ import annotations

from kproxy.backend import Metric, MetricKind

_COUNTER, _GAUGE, _HISTOGRAM = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM
_FAMILY = ("ip_family",)
_SYNC = "kubeproxy_sync_proxy_rules_"

LATENCY_BUCKETS_S = tuple(float(f"{0.001 * 2**power:.3f}") for power in range(15))
PROGRAMMING_BUCKETS_S = (0.25, 0.5, *range(1, 60), *range(60, 120, 5), *range(120, 301, 30))
CLIENT_BUCKETS_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60)

SYNC_DURATION = Metric(
    name=f"{_SYNC}duration_seconds",
    kind=_HISTOGRAM,
    help="How long syncs took, failed ones too.",
    labels=_FAMILY,
    buckets=LATENCY_BUCKETS_S,
)
FULL_SYNC_DURATION = Metric(
    name="kubeproxy_sync_full_proxy_rules_duration_seconds",
    kind=_HISTOGRAM,
    help="How long syncs took that wrote everything.",
    labels=_FAMILY,
    buckets=LATENCY_BUCKETS_S,
)
PARTIAL_SYNC_DURATION = Metric(
    name="kubeproxy_sync_partial_proxy_rules_duration_seconds",
    kind=_HISTOGRAM,
    help="How long syncs took that wrote only what had changed.",
    labels=_FAMILY,
    buckets=LATENCY_BUCKETS_S,
)
LAST_SYNC = Metric(
    name=f"{_SYNC}last_timestamp_seconds",
    kind=_GAUGE,
    help="When the rules were last in step with the objects.",
    labels=_FAMILY,
)
LAST_QUEUED = Metric(
    name=f"{_SYNC}last_queued_timestamp_seconds",
    kind=_GAUGE,
    help="When a sync was last requested.",
    labels=_FAMILY,
)
NETWORK_PROGRAMMING = Metric(
    name="kubeproxy_network_programming_duration_seconds",
    kind=_HISTOGRAM,
    help="Time from a change of a Service's pods until the rules follow it.",
    labels=_FAMILY,
    buckets=PROGRAMMING_BUCKETS_S,
)
ENDPOINT_CHANGES_PENDING = Metric(
    name=f"{_SYNC}endpoint_changes_pending",
    kind=_GAUGE,
    help="Changes of EndpointSlices since the last sync began.",
)
ENDPOINT_CHANGES = Metric(
    name=f"{_SYNC}endpoint_changes_total",
    kind=_COUNTER,
    help="Changes of EndpointSlices.",
)
SERVICE_CHANGES_PENDING = Metric(
    name=f"{_SYNC}service_changes_pending",
    kind=_GAUGE,
    help="Services that have changed since the last sync began.",
)
SERVICE_CHANGES = Metric(
    name=f"{_SYNC}service_changes_total",
    kind=_COUNTER,
    help="Changes of Services, each counted once for each family.",
)
NO_LOCAL_ENDPOINTS = Metric(
    name=f"{_SYNC}no_local_endpoints_total",
    kind=_GAUGE,
    help="Service ports with traffic policy Local and endpoints, but none on this node.",
    labels=("traffic_policy", "ip_family"),
)
CONNTRACK_DURATION = Metric(
    name="kubeproxy_conntrack_reconciler_sync_duration_seconds",
    kind=_HISTOGRAM,
    help="How long it took to look for UDP flows to removed endpoints, and to cut them.",
    labels=_FAMILY,
    buckets=LATENCY_BUCKETS_S,
)
CONNTRACK_DELETED = Metric(
    name="kubeproxy_conntrack_reconciler_deleted_entries_total",
    kind=_COUNTER,
    help="UDP flows that were cut.",
    labels=_FAMILY,
)
HEALTHZ = Metric(
    name="kubeproxy_proxy_healthz_total",
    kind=_COUNTER,
    help="Answers of the health server to /healthz, by status.",
    labels=("code",),
)
LIVEZ = Metric(
    name="kubeproxy_proxy_livez_total",
    kind=_COUNTER,
    help="Answers of the health server to /livez, by status.",
    labels=("code",),
)

BUILD_INFO = Metric(
    name="kubernetes_build_info",
    kind=_GAUGE,
    help="The version of kube-proxy that is emulated.",
    labels=(
        "build_date",
        "compiler",
        "git_commit",
        "git_tree_state",
        "git_version",
        "go_version",
        "major",
        "minor",
        "platform",
    ),
)
FEATURE_ENABLED = Metric(
    name="kubernetes_feature_enabled",
    kind=_GAUGE,
    help="1 if a feature gate is on.",
    labels=("name", "stage"),
)
REGISTERED = Metric(
    name="registered_metrics_total",
    kind=_COUNTER,
    help="How many metrics there are.",
    labels=("deprecated_version", "stability_level"),
)
REST_CLIENT_REQUESTS = Metric(
    name="rest_client_requests_total",
    kind=_COUNTER,
    help="Requests to the API server, by status.",
    labels=("code", "host", "method"),
)
REST_CLIENT_DURATION = Metric(
    name="rest_client_request_duration_seconds",
    kind=_HISTOGRAM,
    help="How long requests to the API server took.",
    labels=("host", "verb"),
    buckets=CLIENT_BUCKETS_S,
)

REPAIRS = Metric(
    name="kproxy_repairs_total",
    kind=_COUNTER,
    help="How often rules were written again because another process had changed them.",
)
FAILED_SYNCS = Metric(
    name="kproxy_failed_syncs_total",
    kind=_COUNTER,
    help="Syncs in which at least one family failed.",
)
REJECTED = Metric(
    name="kproxy_rejected_objects_total",
    kind=_COUNTER,
    help="Versions of objects that were invalid, so that the last good version stayed in force.",
)
API_SERVER_AWAY = Metric(
    name="kproxy_api_server_away_seconds",
    kind=_GAUGE,
    help="For how long the API server has not been heard of; 0 while it can be reached.",
)
KPROXY_BUILD_INFO = Metric(
    name="kproxy_build_info",
    kind=_GAUGE,
    help="The version of kproxy, and how it was started.",
    labels=("emulates", "mode", "version"),
)

HEALTHCHECK = Metric(
    name="kubernetes_healthcheck",
    kind=_GAUGE,
    help="The result of a health check the last time it was asked for.",
    labels=("name", "type"),
)
HEALTHCHECKS = Metric(
    name="kubernetes_healthchecks_total",
    kind=_COUNTER,
    help="Results of a health check.",
    labels=("name", "status", "type"),
)
