"""The conntrack settings that a proxy writes when it starts.

Source: kube-proxy v1.36 cmd/kube-proxy/app/conntrack.go, server_linux.go (getConntrackMax)
"""

from __future__ import annotations

from kproxy.config.types import Conntrack

MAX_SYSCTL = "net/netfilter/nf_conntrack_max"
_MOST = 1_048_576


def conntrack_max(config: Conntrack, cpus: int) -> int:
    """Return the size of the table in connections; 0 to leave it as it is."""
    if config.max_per_core <= 0:
        return 0
    scaled = config.max_per_core * cpus
    return _MOST if scaled > _MOST else max(scaled, config.min)


def conntrack_sysctls(config: Conntrack) -> list[tuple[str, str]]:
    """Return the name and value of every other sysctl to write. Times are whole seconds."""
    settings = [
        ("nf_conntrack_tcp_timeout_established", int(config.tcp_established_timeout)),
        ("nf_conntrack_tcp_timeout_close_wait", int(config.tcp_close_wait_timeout)),
        ("nf_conntrack_tcp_be_liberal", int(config.tcp_be_liberal)),
        ("nf_conntrack_udp_timeout", int(config.udp_timeout)),
        ("nf_conntrack_udp_timeout_stream", int(config.udp_stream_timeout)),
    ]
    return [(f"net/netfilter/{name}", str(value)) for name, value in settings if value > 0]
