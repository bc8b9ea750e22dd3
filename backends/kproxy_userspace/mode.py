"""The `Mode` of userspace mode."""

from __future__ import annotations

from kproxy.backend import PRIMARY, Mode, ModeConfig
from kproxy_userspace import oracle
from kproxy_userspace.backend import UserspaceBackend
from kproxy_userspace.options import UserspaceOptions
from kproxy_userspace.rendering import render

MODE = Mode(
    name=UserspaceBackend.name,
    backend=UserspaceBackend,
    description="Sockets in this process, without netfilter; client addresses are not kept.",
    options=UserspaceOptions,
    config=ModeConfig(node_port_addresses=(PRIMARY,), service_cidrs=False),
    rules=oracle,
    render=render,
    forwards_itself=True,
    traced=False,
    look="ip address show dev lo; ss -lntup",
)
