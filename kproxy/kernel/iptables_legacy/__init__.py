"""Small tables of iptables' legacy variant without its program: one starts for each sync otherwise,
which takes 60 ms on user-mode Linux.

layout  structures of the kernel for either family (pure)
rule    one rule of iptables-restore's text as the kernel has it (pure)
text    the reverse, as iptables-save prints it (pure)
table   a whole table, as the kernel gives and takes it (pure)
edit    the commands of iptables-restore's text, carried out in a table (pure)
writer  transactions of whole texts, under the lock of the programs; whole tables as texts
"""

from kproxy.kernel.iptables_legacy.writer import SmallTables, small_tables_for

__all__ = ["SmallTables", "small_tables_for"]
