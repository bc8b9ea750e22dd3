"""The steps of a packet through the tables of one namespace. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kind = Literal["rule", "return", "policy"]


class TraceStep(Struct, frozen=True, kw_only=True):
    """One rule that matched a packet (`rule`), the end of a chain (`return`), or its `policy`."""

    order: int
    """Counts the steps of one trace."""
    family: str
    """The table's, as nft names it: ip, ip6, inet."""
    table: str
    chain: str
    kind: Kind
    verdict: str
    """accept, drop, continue, return, queue, stolen, or `jump` or `goto` and a chain; a REJECT
    drops, a translation accepts, and so on. The legacy variant does not report it: there it is
    derived from the rule's target, "" for an unknown one.
    """
    rule: int
    """The rule's handle in nf_tables; its number in the chain, counted from 1, in the legacy
    variant; 0 for other kinds.
    """
    packet: bytes
    """From the IP header on, before the rule changes it; in nf_tables as it entered the hook, with
    at most twenty bytes of its transport header.
    """
    iif: str = ""
    oif: str = ""
    """`iif`, `oif`: names of links, "" where the packet has none (yet)."""
