"""Removal of all that the ipvs mode of kproxy or kube-proxy leaves, and of nothing else.

All virtual servers of the namespace count as ours except those in excludeCIDRs, as in a sync.
Settings below net/ipv4/vs and ip_forward stay, since their former values are not known.
Source: kube-proxy v1.36 ipvs/cleanup.go, which leaves the sets of IPv6, and ignores excludeCIDRs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import get_args

from kproxy.address import Family
from kproxy.api.addresses import Network, parse_ip
from kproxy.backend import Uses
from kproxy.errors import KernelRefused
from kproxy.kernel import addresses, ipset
from kproxy.kernel.iptables_programs import Variant
from kproxy.kernel.iptables_save import Table
from kproxy.kernel.ipvs import Batch, Ipvs
from kproxy.kernel.xtables import Xtables, not_deleted
from kproxy_ipvs.holders import holders
from kproxy_ipvs.names import (
    CHAINS,
    DEVICE,
    JUMPS,
    SOURCES_CHAIN,
    SOURCES_JUMP,
    all_names,
)

NO_SUCCESSOR = Uses(mode="")


def remove_all(family: Family, excluded: Collection[Network]) -> None:
    """Remove all of this mode.

    Raises KernelRefused after removing what can be removed; it names what is left, such as chains
    and sets that a rule of another program still uses.
    """
    failures: list[str] = []
    try:
        _remove_servers(family, excluded)
    except KernelRefused as error:
        failures.append(str(error))
    tables = [Xtables(family, variant) for variant in get_args(Variant)]
    try:
        remove_but_servers(family, tables)
    except KernelRefused as error:
        failures.append(str(error))
    if failures:
        raise KernelRefused("\n".join(failures))


def remove_but_servers(
    family: Family, tables: Iterable[Xtables], successor: Uses = NO_SUCCESSOR
) -> None:
    """Remove addresses, rules and sets. Raises like `remove_all`."""
    failures: list[str] = []
    try:
        _remove_addresses(family)
    except KernelRefused as error:
        failures.append(str(error))
    for xtables in tables:
        failures += remove_rules(xtables, successor)
    failures += _remove_sets(family)
    if failures:
        raise KernelRefused("\n".join(failures))


def _remove_sets(family: Family) -> list[str]:
    """Destroy the sets, empty those that are in use, and return a line for each of these."""
    refused = ipset.destroy(ipset.sizes().keys() & set(all_names(family)))
    ipset.flush(refused)
    users = holders(refused)
    return [
        f"ipset {name} was emptied but not destroyed: {users.get(name, reason)}"
        for name, reason in sorted(refused.items())
    ]


def _remove_servers(family: Family, excluded: Collection[Network]) -> None:
    batch = Batch()
    with Ipvs() as ipvs:
        for key in ipvs.virtual_servers(family):
            address = parse_ip(key.address)
            if not any(address in network for network in excluded):
                batch.delete(key)
        if batch:
            ipvs.apply(batch)


def _remove_addresses(family: Family) -> None:
    """Remove the family's addresses, and with the last address of either family the device."""
    if bound := addresses.addresses_of(DEVICE, family):
        addresses.remove_subnets(DEVICE, family)
        addresses.remove_addresses(DEVICE, bound)
    if not addresses.addresses_of(DEVICE, family.other):
        addresses.delete_dummy(DEVICE)


def remove_rules(
    xtables: Xtables, successor: Uses, but: Collection[tuple[str, str]] = ()
) -> list[str]:
    """Remove rules and return the failures. Chains in `but`, and jumps to them, stay."""
    kept = successor if successor.variant == xtables.variant else NO_SUCCESSOR
    failures = []
    tables: tuple[Table, ...] = ("nat", "filter")
    for table in tables:
        stay = {chain for where, chain in but if where == table}
        try:
            held = xtables.remove(
                table,
                [
                    chain
                    for where, chain in {*CHAINS, SOURCES_CHAIN} - kept.chains
                    if where == table and chain not in stay
                ],
                [
                    jump
                    for jump in (*JUMPS, SOURCES_JUMP)
                    if jump.table == table
                    and jump not in kept.jumps
                    and jump.rule.rpartition(" ")[2] not in stay
                ],
            )
            failures += not_deleted(table, held)
        except KernelRefused as error:
            failures.append(str(error))
    return failures
