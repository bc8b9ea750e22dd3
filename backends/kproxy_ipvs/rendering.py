"""All objects that a plan becomes in the kernel, as text, from the plan alone. Pure.

The rules are as iptables 1.8.9 prints them, in either variant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from kproxy.backend import Family, HostFacts, Plan, ProgramInput, Ruleset
from kproxy.kernel import saved_rules
from kproxy.kernel.ipset_attributes import creation_text
from kproxy.kernel.iptables_save import Table, kube_chains, restore_command
from kproxy.kernel.node_addresses import of_node
from kproxy_ipvs import rules
from kproxy_ipvs.desired import Desired
from kproxy_ipvs.names import DEVICE, SETS, set_name, shape_of
from kproxy_ipvs.options import IpvsOptions
from kproxy_ipvs.reading import real_server_line, server_line
from kproxy_ipvs.wanted import place_of, wanted

_IP = ("ip", "-batch", "-")


def render(plan: Plan, addresses: Collection[str]) -> Ruleset:
    """Return what `IpvsBackend.read` would after a full sync. See `Mode.render`."""
    desired = _desired(plan, addresses)
    return {
        **_iptables(plan, desired),
        "ipset": _sets(plan, desired),
        "addresses": _addresses(desired),
        "ipvs": _servers(desired),
    }


def inputs(plan: Plan, facts: HostFacts) -> tuple[ProgramInput, ...]:
    """Return, in the order of a full sync: sets, rules, addresses, virtual servers. See
    `Mode.inputs`.
    """
    desired = _desired(plan, facts.addresses)
    options = plan.settings.options
    variant = options.iptables_variant if isinstance(options, IpvsOptions) else "auto"
    return (
        ProgramInput(("ipset", "restore"), "".join(_set_lines(plan, desired))),
        ProgramInput(
            restore_command(plan.family, variant),
            "".join(rules.transaction(_rules(plan, desired))),
        ),
        ProgramInput(_IP, f"link add {DEVICE} type dummy\n"),  # of both families
        ProgramInput(_IP, "".join(_address_lines(plan, desired))),
        ProgramInput(("ipvsadm", "--restore"), "".join(_server_lines(desired))),
    )


def _desired(plan: Plan, addresses: Collection[str]) -> Desired:
    options = plan.settings.options
    scheduler = options.scheduler if isinstance(options, IpvsOptions) else ""
    place = place_of(plan.settings, of_node(plan.family, addresses), scheduler or "rr")
    desired = Desired()
    for name, service in sorted(plan.services.items()):
        desired.change(name, None, wanted(service, place))
    desired.take_changes()
    return desired


def _rules(plan: Plan, desired: Desired) -> dict[Table, list[str]]:
    return rules.all_rules(plan.settings, desired.filled, desired.firewall.all())


def _iptables(plan: Plan, desired: Desired) -> dict[str, dict[str, tuple[str, ...]]]:
    made = saved_rules.tables(plan.family, rules.transaction(_rules(plan, desired)))
    return {table: kube_chains(chains) for table, chains in made.items()}


def _sets(plan: Plan, desired: Desired) -> dict[str, tuple[str, ...]]:
    """Return all sets, also empty ones, each with its entries."""
    found: dict[str, list[str]] = {suffix: [] for suffix in SETS}
    for entry in desired.entries.all():
        found[entry.set].append(entry.text)
    return {set_name(plan.family, suffix): tuple(sorted(texts)) for suffix, texts in found.items()}


def _addresses(desired: Desired) -> dict[str, tuple[str, ...]]:
    bound = desired.addresses.all()
    return {DEVICE: tuple(sorted(bound))} if bound else {}


def _servers(desired: Desired) -> dict[str, tuple[str, ...]]:
    found = {}
    for key in desired.servers():
        server = desired.server(key)
        assert server
        # The kernel puts each new one first.
        lines = tuple(real_server_line(key, real, 1) for real in reversed(server.real))
        found[server_line(key, server.settings)] = lines
    return found


def _set_lines(plan: Plan, desired: Desired) -> Iterator[str]:
    for suffix in SETS:
        shape = shape_of(plan.family, suffix)
        yield f"create {set_name(plan.family, suffix)} {creation_text(shape)}\n"
    names = {suffix: set_name(plan.family, suffix) for suffix in SETS}
    for entry in desired.entries.all():
        yield f"add {names[entry.set]} {entry.text}\n"


def _address_lines(plan: Plan, desired: Desired) -> Iterator[str]:
    """Yield commands of the program ip."""
    length = 32 if plan.family is Family.IPV4 else 128
    for address in desired.addresses.all():
        yield f"address add {address}/{length} dev {DEVICE}\n"


def _server_lines(desired: Desired) -> Iterator[str]:
    for key in desired.servers():
        server = desired.server(key)
        assert server
        yield f"{server_line(key, server.settings)}\n"
        for real in server.real:
            yield f"{real_server_line(key, real, 1)}\n"
