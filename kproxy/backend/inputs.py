"""The text that programs load, for a rendering of all that a mode would write. Pure."""

from __future__ import annotations

from msgspec import Struct


class HostFacts(Struct, frozen=True, kw_only=True):
    """Facts about a node's kernel that the text of rules depends on, besides the plan."""

    addresses: frozenset[str] = frozenset()
    """All addresses of the node's interfaces, of both families."""
    nfacct: bool = True
    """The kernel has the packet counters of netfilter, which rules of iptables mode use."""
    tcp_be_liberal: bool = False
    """The setting nf_conntrack_tcp_be_liberal is on: then INVALID packets are not dropped."""


class ProgramInput(Struct, frozen=True):
    """The standard input of a program, and the command line that reads it.

    Loaded in order into a namespace without rules of a proxy, the inputs of a plan make there what
    a full sync of that plan does. Equal inputs of both families are loaded once.
    """

    program: tuple[str, ...]
    text: str
