"""Tracing in nf_tables: a rule sets `nftrace` on every packet, the kernel reports to a group.

Source: linux/netfilter/nf_tables.h (NFTA_TRACE_*), net/netfilter/nf_tables_trace.c.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable
from typing import NamedTuple

from kproxy.address import Family
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.netlink import Request, attribute, attributes
from kproxy.kernel.nftables.expressions import report_steps
from kproxy.kernel.nftables.objects import (
    GET_CHAIN,
    GET_RULE,
    NFPROTO,
    SUBSYSTEM,
    Hook,
    Rule,
    Table,
)
from kproxy.kernel.nftables.session import Session
from kproxy.kernel.process import run
from kproxy.kernel.trace.listener import FAMILY_NAMES, Listener, text
from kproxy.kernel.trace.listing import parse_listed, parse_saved
from kproxy.kernel.trace.steps import Kind, TraceStep

TABLE = "kproxy-trace"

_GROUP, _MESSAGE = 9, SUBSYSTEM | 17  # NFNLGRP_NFTRACE, NFT_MSG_TRACE
_HEADER_BYTES = 4  # nfgenmsg
_HOOKS = {"prerouting": 0, "output": 3}
_PRIORITY = -450  # before fragments are put together, so before all tables
_KINDS: dict[int, Kind] = {1: "policy", 2: "return", 3: "rule"}  # NFT_TRACETYPE_
_VERDICTS = {0: "drop", 1: "accept", 2: "stolen", 3: "queue", -1: "continue", -5: "return"}
_CHAIN_VERDICTS = {-3: "jump", -4: "goto"}
_OF_IPTABLES = {"ip": "iptables-nft-save", "ip6": "ip6tables-nft-save"}
_IPTABLES_TABLES = {"raw", "mangle", "nat", "filter", "security"}

_HOOK_NAMES = ("prerouting", "input", "forward", "output", "postrouting")  # NF_INET_
_C_TABLE, _C_NAME, _C_HOOK, _HOOK_NUMBER = 1, 3, 4, 1  # NFTA_CHAIN_, NFTA_HOOK_HOOKNUM

# NFTA_TRACE_
_A_TABLE, _A_CHAIN, _A_RULE, _A_TYPE, _A_VERDICT, _A_ID = 1, 2, 3, 4, 5, 6
_A_NETWORK, _A_TRANSPORT, _A_IIF, _A_OIF, _A_POLICY = 8, 9, 10, 12, 16


class _Seen(NamedTuple):
    """The part of a report that the kernel sends only with a packet's first step in a hook."""

    packet: bytes
    iif: str
    oif: str


_NOTHING = _Seen(b"", "", "")


class NfTablesTrace:
    """A trace of nf_tables. Its methods must be called in the namespace it was made in."""

    def __init__(
        self, families: Collection[Family], buffer_bytes: int, *, marking: bool = True
    ) -> None:
        """`marking`: mark all packets. Else others do so, as `Marks` does, whose steps are told."""
        self._tables = [Table(family, TABLE) for family in families] if marking else []
        self._listener = Listener(buffer_bytes)
        self._seen: dict[int, _Seen] = {}
        self._order = 0
        self._texts: dict[tuple[str, str], dict[str, dict[int, str]]] = {}
        try:
            self._listener.join(_GROUP)
            if marking:
                _mark_all_packets(self._tables)
        except BaseException:
            self._listener.close()
            raise

    def read(self) -> list[TraceStep]:
        self._texts.clear()
        steps = (self._step(message) for message in self._listener.heard(_MESSAGE))
        return [step for step in steps if not self._tables or step.table != TABLE]

    def discard(self) -> None:
        self._listener.discard()
        self._seen.clear()

    def describe(self, step: TraceStep) -> str:
        if step.kind == "policy":
            if step.table in _IPTABLES_TABLES and step.family in _OF_IPTABLES:
                return f"-P {step.chain} {step.verdict.upper()}"
            return f"policy {step.verdict}"
        table = (step.family, step.table)
        if table not in self._texts:
            self._texts[table] = _rules(*table)
        return self._texts[table].get(step.chain, {}).get(step.rule, "")

    def hooks(self) -> dict[tuple[str, str, str], str]:
        found: dict[tuple[str, str, str], str] = {}
        request = Request(GET_CHAIN, struct.pack(">BBH", 0, 0, 0), ("list chains",))
        with Session() as session:
            for answer in session.dump(request):
                chain = dict(attributes(answer[_HEADER_BYTES:]))
                if _C_HOOK not in chain or text(chain[_C_TABLE]).startswith(TABLE):
                    continue
                hook = int.from_bytes(dict(attributes(chain[_C_HOOK]))[_HOOK_NUMBER], "big")
                family = FAMILY_NAMES.get(answer[0], str(answer[0]))
                if hook < len(_HOOK_NAMES):
                    found[family, text(chain[_C_TABLE]), text(chain[_C_NAME])] = _HOOK_NAMES[hook]
        return found

    def close(self) -> None:
        try:
            if not self._tables:
                return
            with Session() as session:
                # Created first: deleting a table that has been deleted already would fail.
                session.commit(
                    [r for table in self._tables for r in (table.create(), table.delete())]
                )
        finally:
            self._listener.close()

    def leave(self) -> None:
        self._listener.close()

    def _step(self, message: memoryview) -> TraceStep:
        found = dict(attributes(message[_HEADER_BYTES:]))
        number = int.from_bytes(found[_A_ID], "big")
        if _A_NETWORK in found:
            self._seen[number] = _Seen(
                bytes(found[_A_NETWORK]) + bytes(found.get(_A_TRANSPORT, b"")),
                self._listener.link_name(found.get(_A_IIF)),
                self._listener.link_name(found.get(_A_OIF)),
            )
        seen = self._seen.get(number, _NOTHING)
        rule = int.from_bytes(found.get(_A_RULE, b""), "big")
        kind = _KINDS[int.from_bytes(found[_A_TYPE], "big")]
        if kind == "policy":
            verdict = _VERDICTS[int.from_bytes(found[_A_POLICY], "big")]
        else:
            kind = "rule" if rule else "return"  # a rule that returns is reported as a return
            verdict = _verdict(found[_A_VERDICT])
        if kind == "policy" or verdict in ("accept", "drop", "stolen", "queue"):
            # The packet leaves the hook. The kernel may give its number to another packet.
            self._seen.pop(number, None)
        self._order += 1
        return TraceStep(
            order=self._order,
            family=FAMILY_NAMES.get(message[0], str(message[0])),
            table=text(found[_A_TABLE]),
            chain=text(found[_A_CHAIN]),
            kind=kind,
            verdict=verdict,
            rule=rule,
            packet=seen.packet,
            iif=seen.iif,
            oif=seen.oif,
        )


def _mark_all_packets(tables: Iterable[Table]) -> None:
    rule = Rule((report_steps(),))
    requests: list[Request] = []
    for table in tables:
        # This deletes a table that an earlier trace has left.
        requests += [table.create(), table.delete(), table.create()]
        for name, number_of_hook in _HOOKS.items():
            requests.append(table.add_chain(name, Hook("filter", number_of_hook, _PRIORITY)))
            requests += table.add_rule(name, rule)
    try:
        with Session() as session:
            session.commit(requests)
    except KernelRefused as error:
        raise Unsupported(f"cannot trace packets: {error}", remedy="a kernel with nf_tables") from (
            None
        )


def _verdict(data: memoryview) -> str:
    found = dict(attributes(data))
    (code,) = struct.unpack(">i", found[1])
    if code in _CHAIN_VERDICTS:
        return f"{_CHAIN_VERDICTS[code]} {text(found[2])}"
    return _VERDICTS[code & 0xFF if code > 0 else code]  # the upper bits: reason of a drop


def _rules(family: str, table: str) -> dict[str, dict[int, str]]:
    """Return the text of one table's rules by chain and handle."""
    if family in _OF_IPTABLES and table in _IPTABLES_TABLES:
        handles = _handles(family, table)
        try:
            saved = parse_saved(run([_OF_IPTABLES[family], "-t", table]))[table]
        except (KernelRefused, KeyError):  # a table with content that iptables cannot print
            saved = {}
        rules = {
            chain: dict(zip(numbers, saved[chain].rules, strict=True))
            for chain, numbers in handles.items()
            if chain in saved and len(saved[chain].rules) == len(numbers)
        }
        if len(rules) == len(handles):
            return rules
    try:
        listed = run(["nft", "--handle", "--stateless", "--terse", "list", "table", family, table])
    except KernelRefused as error:
        if "No such file" in str(error):  # it has been deleted
            return {}
        raise
    return parse_listed(listed)


def _handles(family: str, table: str) -> dict[str, list[int]]:
    """Return the handles of each chain's rules in order. A chain without rules may be missing."""
    number = NFPROTO[Family.IPV4 if family == "ip" else Family.IPV6]
    body = struct.pack(">BBH", number, 0, 0) + attribute(1, table.encode() + b"\0")
    handles: dict[str, list[int]] = {}
    with Session() as session:
        for answer in session.dump(Request(GET_RULE, body, ("list rules", family, table))):
            found = dict(attributes(answer[_HEADER_BYTES:]))
            handles.setdefault(text(found[2]), []).append(int.from_bytes(found[3], "big"))
    return handles
