"""Removal for a successor in another mode, whose rules are in force already, without breaking
connections.

Connections that IPVS forwards are not translated by conntrack: they end with their virtual server.
The successor translates new ones before IPVS would see them. So TCP virtual servers with
connections stay, with weight 0, until these have ended. With them stay their addresses, a chain
that refuses other packets to these addresses, and one that masquerades packets from them: the
node's own packets to such an address have it as their source, to which pods of other nodes could
not reply. UDP and SCTP are not waited for, as in `servers`.

kube-proxy v1.36 deletes all of it at once when the nftables mode starts, and nothing when the
iptables mode does (ipvs/cleanup.go, cmd/kube-proxy/app/server_linux.go: platformCleanup).
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from typing import get_args

from kproxy.address import Family
from kproxy.api.addresses import Network, parse_ip
from kproxy.backend import Uses
from kproxy.errors import KernelRefused
from kproxy.kernel import addresses, ipset
from kproxy.kernel.iptables_programs import Variant
from kproxy.kernel.iptables_save import Table
from kproxy.kernel.ipvs import Batch, Ipvs, VirtualServer, has_ipvs
from kproxy.kernel.xtables import Xtables, installed_variants
from kproxy_ipvs import cleanup
from kproxy_ipvs.names import (
    DEVICE,
    SOURCES_CHAIN,
    SOURCES_JUMP,
    all_names,
    set_name,
    spare_name,
)

_GUARD: tuple[Table, str] = ("filter", "KUBE-IPVS-FILTER")  # no other mode has it
_GUARDED = "IPVS-IPS"


def has_left(family: Family, successor: Uses, mode: str) -> bool:
    """Tell whether the mode has anything here that the successor does not use.

    Starts no process.
    """
    if successor.mode != mode and (
        _device_exists() or not set(all_names(family)).isdisjoint(_sets())
    ):
        return True
    return any(each.has_chain(*_GUARD) for each in _tables_but(family, successor, mode))


def leave(family: Family, successor: Uses, mode: str, excluded: Collection[Network]) -> bool:
    """Remove all that neither the successor nor an open connection needs.

    Return whether open connections need anything. Raises KernelRefused.
    """
    installed = installed_variants()
    tables = [
        each
        for each in _tables_but(family, successor, mode)
        if each.variant in installed or each.has_chain(*_GUARD)
    ]
    if successor.mode == mode:
        _raise([line for each in tables for line in cleanup.remove_rules(each, successor)])
        return False
    busy = _retire(family, excluded) if has_ipvs() else set()
    if not busy:
        cleanup.remove_but_servers(family, tables, successor)
        return False
    for each in tables:
        if each.has_chain(*_GUARD):
            _masquerade_sources(each)
    bound = addresses.addresses_of(DEVICE, family)
    addresses.remove_addresses(DEVICE, bound - {server.address for server in busy})
    guarded = (set_name(family, _GUARDED), spare_name(family, _GUARDED))
    ipset.flush(name for name in all_names(family) if name not in guarded)
    stay = [_GUARD, SOURCES_CHAIN]
    _raise([line for each in tables for line in cleanup.remove_rules(each, successor, stay)])
    return True


def undo_leaving(xtables: Xtables) -> dict[str, str]:
    """Remove the chain that `leave` adds, and return what keeps it here, like `Xtables.remove`."""
    table, chain = SOURCES_CHAIN
    if not xtables.has_chain(table, chain):
        return {}
    return xtables.remove(table, [chain], [SOURCES_JUMP])


def _masquerade_sources(xtables: Xtables) -> None:
    table, chain = SOURCES_CHAIN
    if xtables.has_chain(table, chain):
        return
    spare = spare_name(xtables.family, _GUARDED)
    guarded = spare if spare in _sets() else set_name(xtables.family, _GUARDED)
    match = f"-m set --match-set {guarded} src"
    xtables.restore(
        [
            f"*{table}\n:{chain} - [0:0]\n",
            f"-A {chain} {match} -j MASQUERADE --random-fully\n",
            f"-I {SOURCES_JUMP.chain} {SOURCES_JUMP.rule}\n",
            "COMMIT\n",
        ]
    )


def _retire(family: Family, excluded: Collection[Network]) -> set[VirtualServer]:
    """Delete the virtual servers without connections, and return the others.

    They take no new connections.
    """
    weights, removal = Batch(), Batch()
    with Ipvs() as ipvs:
        ours = [
            key
            for key in ipvs.virtual_servers(family)
            if not any(parse_ip(key.address) in network for network in excluded)
        ]
        waited_for = [key for key in ours if key.protocol == "TCP"]
        for key in waited_for:
            for real, load in ipvs.real_servers(key).items():
                if load.weight:
                    weights.edit_real(key, real, 0)
        if weights:
            ipvs.apply(weights)
        busy = {
            key
            for key in waited_for
            if any(load.active + load.inactive for load in ipvs.real_servers(key).values())
        }
        for key in ours:
            if key not in busy:
                removal.delete(key)
        if removal:
            ipvs.apply(removal)
    return busy


def _tables_but(family: Family, successor: Uses, mode: str) -> Iterator[Xtables]:
    """Yield the tables of each variant, except that of a successor in this mode."""
    for variant in get_args(Variant):
        if (successor.mode, successor.variant) != (mode, variant):
            yield Xtables(family, variant)


def _device_exists() -> bool:
    return any(name == DEVICE for _, name in socket.if_nameindex())


def _sets() -> Collection[str]:
    try:
        return ipset.sizes()
    except KernelRefused:  # no ipsets in this kernel
        return ()


def _raise(failures: list[str]) -> None:
    if failures:
        raise KernelRefused("\n".join(failures))
