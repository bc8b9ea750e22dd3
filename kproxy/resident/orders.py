"""An order for `kproxy up`: the lab to build and what runs on its nodes; the lab without a file."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from string import ascii_lowercase

from msgspec import Struct

from kproxy.backend import BackendOptions
from kproxy.config import ProxyConfig
from kproxy.lab.spec import ClientSpec, LabSpec, NodeSpec, PodSpec
from kproxy.versions import Version

CLIENT, POD = "outside", "shell"
DIRECT, API = "direct", "api"  # where proxies have their objects from


class Order(Struct, frozen=True, kw_only=True):
    """A lab to run. `spec` has its name and a control plane.

    `mode` is None without kproxy's proxies; then `command` runs on every node, if there is one.
    `source`: where the proxies have their objects from, `DIRECT` or `API`. `api_port` 0: any.
    With `uml`, the lab is in a guest, where the command line `argv` is run in `folder`.
    """

    spec: LabSpec
    mode: str | None
    config: ProxyConfig
    options: BackendOptions | None
    command: tuple[str, ...]
    source: str
    api_port: int
    uml: bool
    argv: tuple[str, ...]
    folder: str


def plain_spec(name: str, nodes: int) -> LabSpec:
    """Return the lab without a file: nodes, a client outside, a pod to try things from.

    The pod is on the last node. External IPs are those of the examples.
    """
    names = node_names(nodes)
    pods = {names[-1]: (PodSpec(name=POD, labels={"app": POD}),)} if names else {}
    return LabSpec(
        name=name,
        nodes=tuple(NodeSpec(name=each, pods=pods.get(each, ())) for each in names),
        clients=(ClientSpec(name=CLIENT),),
        routes={"203.0.113.0/24": names[0]} if names else {},
        control_plane=True,
    )


def node_names(count: int) -> list[str]:
    """Return node-a to node-z, then node-aa to node-zz: `count` of them at most."""
    suffixes = [*ascii_lowercase, *map("".join, product(ascii_lowercase, repeat=2))]
    return [f"node-{suffix}" for suffix in suffixes[:count]]


def ordered_spec(
    spec: LabSpec, *, name: str, network: str | None, emulate: Version | None
) -> LabSpec:
    """Return the spec as it runs: with a control plane, and what the command line overrides."""
    return replace(
        spec,
        name=name,
        network=network or spec.network,
        emulate=emulate or spec.emulate,
        control_plane=True,
    )
