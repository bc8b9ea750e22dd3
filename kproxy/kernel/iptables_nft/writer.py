"""Transactions of iptables-restore's text, and what has to be read for them."""

from __future__ import annotations

import errno
import logging
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

from kproxy.address import Family
from kproxy.errors import KernelRefused
from kproxy.kernel import ipset
from kproxy.kernel.iptables_nft.dialect import Dialect
from kproxy.kernel.iptables_nft.extensions import COUNTER, Unknown, as_listed
from kproxy.kernel.iptables_nft.rule import encode, expressions
from kproxy.kernel.netlink import CREATE, EXCL, Packed, Request, attribute, attributes
from kproxy.kernel.nftables.expressions import NESTED
from kproxy.kernel.nftables.objects import (
    DELETE_CHAIN,
    DELETE_RULE,
    GET_CHAIN,
    GET_RULE,
    GET_TABLE,
    NEW_CHAIN,
    NEW_RULE,
    NEW_TABLE,
    NFPROTO,
    Hook,
)
from kproxy.kernel.nftables.session import Session

log = logging.getLogger("kproxy")

# Source: iptables 1.8.9 nft.c, xtables_ipv4. A chain is created when a rule first needs it.
_HOOKS: Mapping[str, Mapping[str, Hook]] = {
    "filter": {
        "INPUT": Hook("filter", 1, 0),
        "FORWARD": Hook("filter", 2, 0),
        "OUTPUT": Hook("filter", 3, 0),
    },
    "nat": {
        "PREROUTING": Hook("nat", 0, -100),
        "INPUT": Hook("nat", 1, 100),
        "OUTPUT": Hook("nat", 3, -100),
        "POSTROUTING": Hook("nat", 4, 100),
    },
    "mangle": {
        "PREROUTING": Hook("filter", 0, -150),
        "INPUT": Hook("filter", 1, -150),
        "FORWARD": Hook("filter", 2, -150),
        "OUTPUT": Hook("route", 3, -150),
        "POSTROUTING": Hook("filter", 4, -150),
    },
}
_LONGEST_NAME = 28  # of a chain: XT_EXTENSION_MAXNAMELEN
_NO_POLICY = "- [0:0]"
_APPEND = 0x800  # NLM_F_APPEND
_SET = "-m set "
_SET_NAME = re.compile(r"(?<=--match-set )\S+")
_NOTHING_THERE = frozenset({errno.ENOENT})
_MANY = 100  # chains: from this number on all are listed, instead of asking for each
_HEADER_BYTES = 4  # nfgenmsg
# Of packets and bytes: both values are compared as 0.
_COUNTER = re.compile(
    re.escape(b"\x2c\0\1\0\x0c\0\1\0counter\0\x1c\0\2\0\x0c\0\1\0")
    + b"(?s:.{8})"
    + re.escape(b"\x0c\0\2\0")
    + b"(?s:.{8})"
)
_NO_COUNT = as_listed(COUNTER)


_Listed: TypeAlias = dict[str, dict[str, bool]]
"""The chains of each table, and which of them are base chains."""


class Writer:
    """Writes the tables of one family, in the namespace of the calling thread."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        family = dialect.family
        self._header = struct.pack(">BBH", NFPROTO[family], 0, 0)
        self._word = "ip" if family is Family.IPV4 else "ip6"

    def restore(self, session: Session, text: str) -> bool:
        """Carry out a text, one transaction for each table, like iptables-restore --noflush.

        Return False if it cannot be translated, or is to delete a rule that is not there in these
        very bytes; nothing was written then. Raises KernelRefused; as with iptables-restore, the
        tables before that which was refused are written.
        """
        transactions = self._packed(session, session, text)
        if transactions is None:
            return False
        _send(session, transactions)
        return True

    def restore_all(self, texts: Iterable[str]) -> Iterator[str]:
        """Carry out several texts like `restore`, and yield "" after each, or the text itself if
        `restore` would return False. While the kernel works, the next one is translated.

        Chains are listed only at the start. Raises KernelRefused like `restore`.
        """
        listed: _Listed = {}
        written: Future[None] | None = None
        with Session() as asking, Session() as writing, ThreadPoolExecutor(1) as kernel:
            for text in texts:
                transactions = self._packed(asking, writing, text, listed)
                if written:
                    written.result()
                    yield ""
                written = None
                if transactions is None:
                    listed.clear()
                    yield text
                else:
                    written = kernel.submit(_send, writing, transactions)
            if written:
                written.result()
                yield ""

    def _packed(
        self, asking: Session, writing: Session, text: str, listed: _Listed | None = None
    ) -> list[Packed] | None:
        """Return the transactions of a text, None if it cannot be translated."""
        try:
            return [
                writing.pack_transaction(self._requests(asking, table, lines, listed))
                for table, lines in _tables(text)
            ]
        except Unknown as unknown:
            log.debug("%s: the program has to write this: %s", self._word, unknown)
            return None

    def _requests(
        self, session: Session, table: str, lines: list[str], listed: _Listed | None
    ) -> Iterator[Request]:
        """Yield the messages of one transaction. `listed`: see `_chains`; it is kept up to date.

        Raises Unknown, KernelRefused.
        """
        start = self._header + _name(1, table)
        words = (self._word, table)
        hooks = _HOOKS[table]
        chains = self._chains(session, table, lines, listed)
        if not chains and not self._has_table(session, table):
            yield Request(NEW_TABLE, start, ("add table", *words), CREATE)
        deletable: dict[str, dict[bytes, list[bytes]]] = {}
        starts: dict[str, bytes] = {}  # of messages about the rules of a chain
        for line in lines:
            what = (*words, line)
            if line[0] == ":":
                chain, _, policy = line[1:].partition(" ")
                if policy != _NO_POLICY or len(chain) > _LONGEST_NAME:
                    raise Unknown(line)
                if chain not in chains:
                    yield Request(NEW_CHAIN, start + _name(3, chain), what, EXCL)
                    chains[chain] = False
                elif chains[chain]:
                    raise _hooked(chain, what)
                else:
                    yield Request(DELETE_RULE, start + _name(2, chain), what)
                continue
            verb, chain, rule = _parts(line)
            if _SET in rule:
                rule = _with_indexes(rule)
            if chain not in starts:
                starts[chain] = start + _name(2, chain)
                if chain in hooks and chain not in chains and verb in ("-A", "-I"):
                    body = start + _name(3, chain) + _hook(hooks[chain], self._dialect)
                    yield Request(NEW_CHAIN, body, what, CREATE)
                    chains[chain] = True
            body = starts[chain]
            if verb == "-A":
                body += encode(self._dialect, rule)
                yield Request(NEW_RULE, body, what, CREATE | _APPEND)
            elif verb == "-I":
                body += encode(self._dialect, rule)
                yield Request(NEW_RULE, body, what, CREATE)
            elif verb == "-D":
                if chain not in deletable:
                    deletable[chain] = self._handles(session, table, chain, lines)
                same = deletable[chain][as_listed(expressions(self._dialect, rule))]
                if not same:
                    raise Unknown(f"no such rule: {line}")
                yield Request(DELETE_RULE, body + attribute(3, same.pop(0)), what)
            elif verb == "-F" and not rule:
                yield Request(DELETE_RULE, body, what)
            elif verb == "-X" and not rule:
                yield Request(DELETE_CHAIN, start + _name(3, chain), what)
                chains.pop(chain, None)
            else:
                raise Unknown(line)

    def _chains(
        self, session: Session, table: str, lines: list[str], listed: _Listed | None
    ) -> dict[str, bool]:
        """Return those that exist of the chains that may have to be created, or all chains, and
        which are base chains. `listed`: all chains of tables that were read before, if that counts.
        """
        names = {line[1:].partition(" ")[0] for line in lines if line[0] == ":"}
        names.update(_HOOKS[table])
        if listed is None and len(names) < _MANY:
            found = ((name, self._is_base_chain(session, table, name)) for name in names)
            return {name: is_base for name, is_base in found if is_base is not None}
        listed = {} if listed is None else listed
        if table not in listed:
            request = Request(GET_CHAIN, self._header, ("list chains",))
            answers = (dict(attributes(body[_HEADER_BYTES:])) for body in session.dump(request))
            own = _terminated(table)
            listed[table] = {
                bytes(found[3])[:-1].decode(): 4 in found for found in answers if found[1] == own
            }
        return listed[table]

    def _is_base_chain(self, session: Session, table: str, chain: str) -> bool | None:
        """Tell whether it is a base chain; None if there is no such chain."""
        request = Request(GET_CHAIN, self._start(table) + _name(3, chain), ("get chain", chain))
        try:
            return 4 in dict(attributes(session.ask(request)[_HEADER_BYTES:]))
        except KernelRefused:
            return None

    def _has_table(self, session: Session, table: str) -> bool:
        try:
            session.ask(Request(GET_TABLE, self._start(table), ("get table", table)))
        except KernelRefused:
            return False
        return True

    def _handles(
        self, session: Session, table: str, chain: str, lines: list[str]
    ) -> dict[bytes, list[bytes]]:
        """Return the handles of the rules that are to be deleted from a chain, by their
        expressions with counters at 0. Reads this chain and no other.
        """
        begin = f"-D {chain} "
        wanted: dict[bytes, list[bytes]] = {
            as_listed(expressions(self._dialect, _with_indexes(line[len(begin) :]))): []
            for line in lines
            if line.startswith(begin)
        }
        heads = {rule.partition(_NO_COUNT)[0] for rule in wanted}
        body = self._start(table) + _name(2, chain)
        request = Request(GET_RULE, body, ("list rules of", table, chain), fine=_NOTHING_THERE)
        for answer in session.dump(request):
            raw = bytes(answer)
            if not any(head in raw for head in heads):
                continue
            found = dict(attributes(answer[_HEADER_BYTES:]))
            rule = _COUNTER.sub(_NO_COUNT, found[4])
            if rule in wanted and found[2] == _terminated(chain):
                wanted[rule].append(bytes(found[3]))
        return wanted

    def _start(self, table: str) -> bytes:
        return self._header + _name(1, table)


def _send(session: Session, transactions: Iterable[Packed]) -> None:
    for transaction in transactions:
        session.send_packed(transaction)


def _tables(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each table with its lines, if it has any. Raises Unknown."""
    table = ""
    lines: list[str] = []
    for line in filter(None, text.split("\n")):
        if line[0] == "*":
            table = line[1:]
        elif line == "COMMIT":
            if table not in _HOOKS:
                raise Unknown(f"table {table}")
            if lines:
                yield table, lines
            lines = []
        else:
            lines.append(line)
    if lines:
        raise Unknown("a text without COMMIT at its end")


def _parts(line: str) -> tuple[str, str, str]:
    """Return the command, the chain and the text of the rule."""
    verb, _, rest = line.partition(" ")
    chain, _, rule = rest.partition(" ")  # a rule without any word counts packets
    if not chain:
        raise Unknown(line)
    return verb, chain, rule


def _with_indexes(rule: str) -> str:
    """Replace the names of ipsets by their numbers. Raises Unknown if there is no such set."""
    try:
        return _SET_NAME.sub(lambda found: str(ipset.index(found[0])), rule)
    except KernelRefused as error:  # or the kernel is older than 4.20
        raise Unknown(str(error)) from None


def _hooked(chain: str, what: tuple[object, ...]) -> KernelRefused:
    return KernelRefused(
        f"{' '.join(map(str, what))}: {os.strerror(errno.EEXIST)}",
        remedy=f"{chain} is there as a base chain, made with nft: delete it, or rename it"
        " (nft list chains shows it)",
    )


def _hook(hook: Hook, dialect: Dialect) -> bytes:
    """Return the attributes of a base chain with policy ACCEPT."""
    where = attribute(1, struct.pack(">L", hook.number))
    where += attribute(2, struct.pack(">i", hook.priority))
    accept = attribute(5, struct.pack(">L", 1))
    counter = attribute(8 | NESTED, attribute(2, bytes(8)) + attribute(1, bytes(8)))
    counted = counter if dialect.counting_base_chains else b""
    return attribute(4 | NESTED, where) + accept + counted + _name(7, hook.type)


def _name(kind: int, text: str) -> bytes:
    return attribute(kind, _terminated(text))


def _terminated(text: str) -> bytes:
    return text.encode() + b"\0"
