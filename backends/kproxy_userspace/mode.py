"""The `Mode` of userspace mode."""

from __future__ import annotations

from kproxy.backend import PRIMARY, Backend, Family, Mode, ModeConfig
from kproxy_userspace import oracle
from kproxy_userspace.options import UserspaceOptions
from kproxy_userspace.rendering import render


def backend(family: Family, options: UserspaceOptions) -> Backend:
    """Return a new backend. Questions on paper do not pay for the import of what it needs."""
    from kproxy_userspace.backend import UserspaceBackend

    return UserspaceBackend(family, options)


MODE = Mode(
    name="userspace",
    backend=backend,
    description="Sockets in this process, without netfilter; client addresses are not kept.",
    options=UserspaceOptions,
    config=ModeConfig(node_port_addresses=(PRIMARY,), service_cidrs=False),
    rules=oracle,
    render=render,
    forwards_itself=True,
    traced=False,
    look="ip address show dev lo; ss -lntup",
)
