"""The options of userspace mode. Pure."""

from __future__ import annotations

from kproxy.backend import BackendOptions, Seconds


class UserspaceOptions(BackendOptions, frozen=True, kw_only=True):
    """Time-outs of connections and flows, and the limit of their number."""

    connect_timeout: Seconds = Seconds(5)
    """If an endpoint has not accepted by then, its client is reset."""
    udp_idle_timeout: Seconds = Seconds(60)
    """A UDP flow that is silent for so long is closed; conntrack waits 30 to 120 s."""
    max_connections: int = 10_000
    """TCP connections and UDP flows of one IP family. Further TCP clients wait in the kernel's
    queue; datagrams of further UDP clients are dropped."""

    def __post_init__(self) -> None:
        for name in ("connect_timeout", "udp_idle_timeout", "max_connections"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0")
