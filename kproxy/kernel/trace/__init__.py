"""What netfilter does with each packet in one network namespace, told by the kernel step by step.

    with namespace.entered():
        trace = Trace.start("nft")    # or "legacy": the variant of iptables in use there
    ...                               # packets pass
    for step in trace.read():
        print(step.table, step.chain, step.verdict, trace.describe(step))
    trace.close()

steps      `TraceStep`: one rule that matched, the end of a chain, or a policy
trace      `Trace`: starts, reads, describes and ends it
listener   a netlink socket that hears what nobody asked for
nf_tables  the nf_tables way: iptables' nft variant, and every table of nftables
legacy     the way of the kernel's own ip_tables
listing    rules of a table as their own tool prints them (pure)

Tracing marks every packet that enters the namespace or is made in it. That slows packets down and
changes nothing else. Both ways leave out their own rules.
"""

from kproxy.kernel.trace.steps import Kind, TraceStep
from kproxy.kernel.trace.trace import Trace

__all__ = ["Kind", "Trace", "TraceStep"]
