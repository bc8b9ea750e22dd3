"""The objects in the kernel, as `iptables-save`, `ipset save` and `ipvsadm -Sn` print them."""

from __future__ import annotations

from kproxy.address import Family
from kproxy.backend import ListedRule
from kproxy.backend.saved_walk import counted_listing
from kproxy.kernel import addresses, ipset
from kproxy.kernel.iptables_save import Chains, kube_chains
from kproxy.kernel.ipvs import Ipvs, RealServer, Settings, VirtualServer
from kproxy.kernel.xtables import Xtables
from kproxy_ipvs.names import DEVICE, JUMPS, all_names
from kproxy_ipvs.wanted import PERSISTENT, SCHED_MH_PORT

LETTERS = {"TCP": "-t", "UDP": "-u", "SCTP": "--sctp-service"}
PACKETS = "ipvs packets"  # the table of a listing with what virtual servers have counted


def ruleset(xtables: Xtables) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the tables of iptables, `ipset` (set -> entries), `addresses` (device -> addresses)
    and `ipvs` (virtual server -> real servers).
    """
    family = xtables.family
    read: dict[str, dict[str, tuple[str, ...]]] = {}
    for table, saved in xtables.save_all().items():
        read[table] = _our_chains(saved)
    read["ipset"] = _sets(family)
    bound = addresses.addresses_of(DEVICE, family)
    read["addresses"] = {DEVICE: tuple(sorted(bound))} if bound else {}
    read["ipvs"] = _servers(family)
    return read


def listing(xtables: Xtables) -> dict[str, dict[str, tuple[ListedRule, ...]]]:
    """Return the same with counters: of rules, of virtual servers in the table `PACKETS`, and of
    real servers, whose text also tells how many connections they have.
    """
    family = xtables.family
    found = dict(counted_listing(xtables.counted(JUMPS)))
    bound = addresses.addresses_of(DEVICE, family)
    others = {"ipset": _sets(family), "addresses": {DEVICE: tuple(sorted(bound))}}
    found |= {
        table: {name: tuple(map(ListedRule, lines)) for name, lines in those.items()}
        for table, those in others.items()
    }
    with Ipvs() as ipvs:
        present = ipvs.virtual_servers(family)
        packets = ipvs.packets(family)
        found["ipvs"] = {
            server_line(key, settings): tuple(
                ListedRule(
                    f"{real_server_line(key, real, load.weight)}"
                    f" (connections: {load.active} active, {load.inactive} inactive)",
                    load.packets,
                )
                for real, load in ipvs.real_servers(key).items()
            )
            for key, settings in present.items()
        }
    found[PACKETS] = {
        "ipvs": tuple(
            ListedRule(server_line(key, settings), packets.get(key))
            for key, settings in present.items()
        )
    }
    return found


def server_line(key: VirtualServer, settings: Settings) -> str:
    line = f"-A {_address(key)} -s {settings.scheduler}"
    if settings.flags & PERSISTENT:
        line += f" -p {settings.timeout_s}"
    if settings.flags & SCHED_MH_PORT and settings.scheduler == "mh":
        line += " -b mh-port"
    return line


def real_server_line(key: VirtualServer, real: RealServer, weight: int) -> str:
    return f"-a {_address(key)} -r {real} -m -w {weight}"


def _address(key: VirtualServer) -> str:
    return f"{LETTERS[key.protocol]} {RealServer(key.address, key.port)}"


def _our_chains(saved: Chains) -> dict[str, tuple[str, ...]]:
    """Return our chains, read without python-iptables, which loses the names of sets."""
    return kube_chains(
        {chain: [" ".join(rule.split()) for rule in rules] for chain, rules in saved.items()}
    )


def _sets(family: Family) -> dict[str, tuple[str, ...]]:
    saved = ipset.save()
    names = all_names(family)
    return {name: tuple(sorted(saved[name].entries)) for name in names if name in saved}


def _servers(family: Family) -> dict[str, tuple[str, ...]]:
    with Ipvs() as ipvs:
        return {
            server_line(key, settings): tuple(
                real_server_line(key, real, load.weight)
                for real, load in ipvs.real_servers(key).items()
            )
            for key, settings in ipvs.virtual_servers(family).items()
        }
