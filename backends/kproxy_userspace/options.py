"""The options of userspace mode. Pure."""

from __future__ import annotations

from kproxy.backend import BackendOptions, Seconds


class UserspaceOptions(BackendOptions, frozen=True, kw_only=True):
    """How long what is open may wait, and how much may be open."""

    connect_timeout: Seconds = Seconds(5)
    """An endpoint that has not accepted by then is given up, and so is the client."""
    udp_idle_timeout: Seconds = Seconds(60)
    """A UDP client that is silent for so long is forgotten; conntrack waits 30 to 120 s."""
    max_connections: int = 10_000
    """TCP connections and UDP flows of one IP family. Further TCP clients wait in the kernel's
    queue; datagrams of further UDP clients are dropped."""

    def __post_init__(self) -> None:
        for name in ("connect_timeout", "udp_idle_timeout", "max_connections"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0")
