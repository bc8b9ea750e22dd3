"""The steps of each packet through netfilter in one network namespace, reported by the kernel.

    with namespace.entered():
        trace = Trace.start("nft")    # or "legacy": the variant of iptables in use there
    ...                               # packets pass
    for step in trace.read():
        print(step.table, step.chain, step.verdict, trace.describe(step))
    trace.close()

steps      `TraceStep`: one rule that matched, the end of a chain, or a policy
trace      `Trace`: starts, reads, describes and ends a trace
listener   a netlink socket for messages that the kernel sends unasked
nf_tables  tracing in nf_tables: iptables' nft variant, and every table of nftables
legacy     tracing in the kernel's own ip_tables
listing    rules of a table as their own tool prints them (pure)
wanted     `PacketFilter`: a few packets among those of a node (pure)
marks      `Marks`: marks these alone, for `Trace.listen`
legacy_marks `LegacyMarks`: the same without nf_tables
answering  the places that answers come from, for those

`Trace.start` marks every packet that enters the namespace or is sent from it. That slows packets
down and changes nothing else. Both kinds leave out their own rules.
"""

from kproxy.kernel.trace.legacy_marks import LegacyMarks
from kproxy.kernel.trace.marks import Marks
from kproxy.kernel.trace.nf_tables import TABLE
from kproxy.kernel.trace.steps import Kind, TraceStep
from kproxy.kernel.trace.trace import Trace
from kproxy.kernel.trace.wanted import PacketFilter

__all__ = ["TABLE", "Kind", "LegacyMarks", "Marks", "PacketFilter", "Trace", "TraceStep"]
