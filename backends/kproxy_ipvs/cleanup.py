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
from kproxy.kernel.ipvs import Batch, Ipvs
from kproxy.kernel.xtables import Table, Variant, Xtables
from kproxy_ipvs.names import (
    CHAINS,
    DEVICE,
    JUMPS,
    SETS,
    SOURCES_CHAIN,
    SOURCES_JUMP,
    set_name,
)

NO_SUCCESSOR = Uses(mode="")


def remove_all(family: Family, excluded: Collection[Network]) -> None:
    """Remove all of this mode.

    Raises KernelRefused if a rule of another program still uses one of the chains or sets.
    """
    _remove_servers(family, excluded)
    remove_but_servers(family, [Xtables(family, variant) for variant in get_args(Variant)])


def remove_but_servers(
    family: Family, tables: Iterable[Xtables], successor: Uses = NO_SUCCESSOR
) -> None:
    """Remove addresses, rules and sets. Raises like `remove_all`."""
    _remove_addresses(family)
    failures: list[str] = []
    for xtables in tables:
        failures += remove_rules(xtables, successor)
    present = ipset.sizes()
    names = [set_name(family, suffix) for suffix in SETS]
    if to_remove := [name for name in names if name in present]:
        ipset.restore(f"destroy {name}" for name in to_remove)
    if failures:
        raise KernelRefused("\n".join(failures))


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
    addresses.remove_addresses(DEVICE, addresses.addresses_of(DEVICE, family))
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
            xtables.remove(
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
        except KernelRefused as error:
            failures.append(str(error))
    return failures
