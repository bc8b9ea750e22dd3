"""iptables' nft variant without its program: the text of iptables-restore as nf_tables has it.

dialect     in what versions of iptables differ (pure)
extensions  matches and targets as expressions of the kernel, byte by byte (pure)
rule        one rule of the text as expressions (pure)
writer      transactions of whole texts, and what has to be read for them
known       whether it can be written here
"""

from kproxy.kernel.iptables_nft.known import writer_for
from kproxy.kernel.iptables_nft.writer import Writer

__all__ = ["Writer", "writer_for"]
