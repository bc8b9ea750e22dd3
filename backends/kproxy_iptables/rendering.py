"""The tables that a plan becomes in the kernel, as text, from the plan alone. Pure.

As iptables 1.8.9 prints it, in either variant, on a kernel that has nfacct and the setting
nf_conntrack_tcp_be_liberal 0: other versions may print the parts of a rule in another order.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain

from kproxy.backend import Plan, Ruleset
from kproxy.kernel import saved_rules
from kproxy.kernel.addresses import within
from kproxy.kernel.xtables import TABLES, kube_chains
from kproxy_iptables.frame import FrameOptions
from kproxy_iptables.rules import Context, node_port_ips, node_port_jumps
from kproxy_iptables.transaction import Existing, rewrite

_FRAME = FrameOptions(drop_invalid=True, invalid_counter=True)
_NOTHING = Existing(chains=dict.fromkeys(TABLES, frozenset()), jumps=frozenset())


def render(plan: Plan, addresses: Collection[str]) -> Ruleset:
    """Return what `IptablesBackend.read` would after a full sync. See `Mode.render`."""
    settings = plan.settings
    context = Context(
        settings=settings, endpoint_comments=not plan.large_cluster, localhost_counter=True
    )
    selected = within(settings.node_port_addresses.cidrs, addresses)
    jumps = node_port_jumps(settings, node_port_ips(settings, selected))
    writers = rewrite(plan, _NOTHING, context, _FRAME, jumps, max(1, len(plan.services)))
    text = chain.from_iterable(writer.pieces() for writer in writers)
    made = saved_rules.tables(plan.family, text)
    return {table: kube_chains(chains) for table, chains in made.items()}
