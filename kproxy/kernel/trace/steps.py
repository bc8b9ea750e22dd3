"""The steps of a packet through the tables of one namespace. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kind = Literal["rule", "return", "policy"]


class TraceStep(Struct, frozen=True, kw_only=True):
    """One rule that matched a packet (`rule`), the end of a chain (`return`), or its `policy`.

    `order`: counts the steps of one trace. `family`: of the table, as nft names it: ip, ip6, inet.
    `verdict`: accept, drop, continue, return, queue, stolen, or `jump` or `goto` and a chain; a
    REJECT drops, a translation accepts, and so on. The legacy variant does not tell it: there it is
    what the rule's target is known for, "" for one that is not known.
    `rule`: where the rule is: its handle in nf_tables; its number in the chain, counted from 1, in
    the legacy variant; 0 for other kinds. `packet`: from the IP header on, before the rule alters
    it; in nf_tables as it entered the hook, and twenty bytes of its transport header at most.
    `iif`, `oif`: names of links, "" where the packet has none (yet).
    """

    order: int
    family: str
    table: str
    chain: str
    kind: Kind
    verdict: str
    rule: int
    packet: bytes
    iif: str = ""
    oif: str = ""
