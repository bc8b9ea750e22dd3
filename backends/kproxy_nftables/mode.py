"""The `Mode` of nftables mode."""

from __future__ import annotations

import re

from kproxy.address import Family
from kproxy.backend import Backend, Mode, ModeConfig, Ruleset
from kproxy.backend.late import late
from kproxy.config.types import PRIMARY
from kproxy_nftables import oracle
from kproxy_nftables.names import CHAIN_PURPOSES, CLUSTER_IPS, TABLE
from kproxy_nftables.options import NftablesOptions

_SLOTTED = re.compile(r"map (nodeport-)?(local-)?endpoints-(tcp|udp|sctp)")
_SLOT = re.compile(r"(.+) \. (\d+) : (.+)")  # frontend, slot, endpoint


def comparable(ruleset: Ruleset) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the ruleset with the elements of sets and maps in order, and the endpoints of each
    frontend, whatever slots they have; without the clients that session affinity remembers.

    Which element nft prints first depends on its version, and on history where keys are intervals.
    A packet is led to a random slot, so only that these are 0 to N-1 counts (flat layout).
    Clients are written by the kernel, as they come.
    """
    return {
        table: {name: _comparable(name, lines) for name, lines in objects.items()}
        for table, objects in ruleset.items()
    }


def _comparable(name: str, lines: tuple[str, ...]) -> tuple[str, ...]:
    if name.startswith("chain "):
        return lines
    if name.startswith("set affinity-"):
        return ()
    return _in_order(lines) if _SLOTTED.fullmatch(name) else tuple(sorted(lines))


def _in_order(elements: tuple[str, ...]) -> tuple[str, ...]:
    slots: dict[str, list[int]] = {}
    endpoints: dict[str, list[str]] = {}
    for element in elements:
        if found := _SLOT.fullmatch(element):
            slots.setdefault(found[1], []).append(int(found[2]))
            endpoints.setdefault(found[1], []).append(found[3])
    return tuple(sorted(element for element in elements if not _SLOT.fullmatch(element))) + tuple(
        f"{frontend} . {slot} : {endpoint}"
        for frontend in sorted(slots)
        for slot, endpoint in zip(sorted(slots[frontend]), sorted(endpoints[frontend]), strict=True)
    )


def services(ruleset: Ruleset) -> int:
    """Count the cluster IPs: a Service has one of each family."""
    return len(ruleset.get(TABLE, {}).get(f"set {CLUSTER_IPS}", ()))


def backend(family: Family, options: NftablesOptions) -> Backend:
    """Return a new backend. Questions on paper do not pay for the import of what it needs."""
    from kproxy_nftables.backend import NftablesBackend

    return NftablesBackend(family, options)


MODE = Mode(
    name="nftables",
    backend=backend,
    description="Maps of nftables, in kube-proxy's layout or a flat one.",
    options=NftablesOptions,
    config=ModeConfig(
        timing="nftables",
        masquerade="nftables",
        node_port_addresses=(PRIMARY,),
        loopback_gate="KubeProxyNFTablesLocalhostNodePorts",
    ),
    rules=oracle,
    comparable=comparable,
    render=late("kproxy_nftables.rendering", "render"),
    inputs=late("kproxy_nftables.rendering", "inputs"),
    service_rules=late("kproxy_nftables.service_rules", "service_rules"),
    services=services,
    in_parts=True,
    variants=("kube-proxy", "flat"),
    variant_option="nftables_layout",
    chains=CHAIN_PURPOSES,
    look="nft list table ip kube-proxy",
)
