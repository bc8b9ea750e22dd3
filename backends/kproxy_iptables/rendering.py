"""The tables that a plan becomes in the kernel, as text, from the plan alone. Pure.

As iptables 1.8.9 prints it, in either variant, on a kernel that has nfacct and the setting
nf_conntrack_tcp_be_liberal 0: other versions may print the parts of a rule in another order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain

from kproxy.backend import HostFacts, Plan, ProgramInput, Ruleset
from kproxy.kernel import saved_rules
from kproxy.kernel.iptables_save import TABLES, kube_chains, restore_command
from kproxy.kernel.node_addresses import within
from kproxy_iptables.frame import INVALID_COUNTER, FrameOptions
from kproxy_iptables.options import IptablesOptions
from kproxy_iptables.rules import LOCALHOST_COUNTER, Context, node_port_ips, node_port_jumps
from kproxy_iptables.transaction import NFT_BATCH_SERVICES, Existing, Writer, rewrite

_NOTHING = Existing(chains=dict.fromkeys(TABLES, frozenset()), jumps=frozenset())


def render(plan: Plan, addresses: Collection[str]) -> Ruleset:
    """Return what `IptablesBackend.read` would after a full sync. See `Mode.render`."""
    facts = HostFacts(addresses=frozenset(addresses))
    writers = _writers(plan, facts, max(1, len(plan.services)))
    text = chain.from_iterable(writer.pieces() for writer in writers)
    made = saved_rules.tables(plan.family, text)
    return {table: kube_chains(chains) for table, chains in made.items()}


def inputs(plan: Plan, facts: HostFacts) -> tuple[ProgramInput, ...]:
    """Return the counters, and the transactions of a full sync as it feeds them: in the legacy
    variant a single one. See `Mode.inputs`.
    """
    options = plan.settings.options
    variant = options.iptables_variant if isinstance(options, IptablesOptions) else "auto"
    batch = max(1, len(plan.services)) if variant == "legacy" else NFT_BATCH_SERVICES
    writers = _writers(plan, facts, batch)
    text = "".join(chain.from_iterable(writer.pieces() for writer in writers))
    rules = ProgramInput(restore_command(plan.family, variant), text)
    if facts.nfacct:
        return ProgramInput(("nfacct", "restore"), "".join(_counters())), rules
    return (rules,)


def _writers(plan: Plan, facts: HostFacts, batch_services: int) -> Iterator[Writer]:
    settings = plan.settings
    context = Context(
        settings=settings,
        endpoint_comments=not plan.large_cluster,
        localhost_counter=facts.nfacct,
    )
    selected = within(settings.node_port_addresses.cidrs, facts.addresses)
    jumps = node_port_jumps(settings, node_port_ips(settings, selected))
    frame = FrameOptions(drop_invalid=not facts.tcp_be_liberal, invalid_counter=facts.nfacct)
    return rewrite(plan, _NOTHING, context, frame, jumps, batch_services)


def _counters() -> Iterator[str]:
    """Yield lines as the program nfacct lists and restores them."""
    nothing = "0" * 20
    for name in (INVALID_COUNTER, LOCALHOST_COUNTER):
        yield f"{{ pkts = {nothing}, bytes = {nothing} }} = {name};\n"
