"""Transactions of nf_tables and reading back, in the namespace of the calling thread."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import chain

from kproxy.address import Family
from kproxy.errors import KernelRefused
from kproxy.kernel.netlink import (
    NETLINK_NETFILTER,
    Netlink,
    Packed,
    Request,
    attribute,
    attributes,
)
from kproxy.kernel.nftables.expressions import COUNTER
from kproxy.kernel.nftables.objects import (
    DIGEST,
    GET_CHAIN,
    GET_ELEMENT,
    GET_GENERATION,
    GET_OBJECT,
    GET_RULE,
    GET_SET,
    GET_TABLE,
    NFPROTO,
)
from kproxy.kernel.nftables.types import entries

_BATCH_BEGIN = Request(0x10, struct.pack(">BBH", 0, 0, 10), ("begin transaction",))
_BATCH_END = Request(0x11, struct.pack(">BBH", 0, 0, 10), ("end transaction",))
_ASK_GENERATION = Request(GET_GENERATION, bytes(4), ("get generation of nf_tables",))
_NO_SUCH_TABLE = frozenset({2})  # ENOENT
_ANONYMOUS = 0x1
_HEADER_BYTES = 4  # nfgenmsg


class Session(Netlink):
    """A socket for transactions. A context manager."""

    def __init__(self) -> None:
        super().__init__(NETLINK_NETFILTER)

    def commit(self, requests: Iterable[Request]) -> None:
        """Carry out all requests or none. Raises KernelRefused, Unsupported without privilege."""
        self.send_at_once([_BATCH_BEGIN, *requests, _BATCH_END])

    def pack_transaction(self, requests: Iterable[Request]) -> Packed:
        """Return a transaction to be committed by `send_packed`, without keeping the requests."""
        return self.pack(chain((_BATCH_BEGIN,), requests, (_BATCH_END,)))

    def rehearse(self, requests: Iterable[Request]) -> None:
        """Check like `commit` that the kernel takes the requests, without changing anything.

        The kernel does not commit a transaction whose end is missing; `nft --check` relies on it.
        """
        self.send_at_once([_BATCH_BEGIN, *requests])

    def generation(self) -> int:
        """Return a number that changes with every transaction of any process."""
        _, number = next(attributes(self.ask(_ASK_GENERATION)[_HEADER_BYTES:]))
        return int.from_bytes(number, "big")


class TableReader:
    """The contents of one table. For a table that does not exist all answers are empty."""

    def __init__(self, session: Session, family: Family, name: str) -> None:
        self._session = session
        self._name = name.encode() + b"\0"
        self._start = struct.pack(">BBH", NFPROTO[family], 0, 0)

    def exists(self) -> bool:
        return any(found[1] == self._name for found in self._dump(GET_TABLE, "list tables"))

    def owner(self) -> int:
        """Return the number of the netlink socket that alone may change the table, 0 if all may.

        It is the pid of its process, as a rule.
        """
        for found in self._dump(GET_TABLE, "list tables"):
            if found[1] == self._name and 7 in found:
                return int.from_bytes(found[7], "big")
        return 0

    def chains(self) -> dict[str, bool]:
        """Return the names of the chains, and for each whether it is a base chain."""
        return {
            _text(found[3]): 4 in found
            for found in self._dump(GET_CHAIN, "list chains")
            if found[1] == self._name
        }

    def has_chain(self, name: str) -> bool:
        """Tell whether a chain exists, without reading the others."""
        body = self._start + attribute(1, self._name) + attribute(3, name.encode() + b"\0")
        try:
            self._session.ask(Request(GET_CHAIN, body, ("look for chain", name)))
        except KernelRefused:  # no such chain, no such table, no nf_tables
            return False
        return True

    def sets(self) -> dict[str, bool]:
        """Return the names of the sets and maps, and for each whether it is part of a rule."""
        return {
            _text(found[2]): bool(int.from_bytes(found.get(3, b""), "big") & _ANONYMOUS)
            for found in self._dump(GET_SET, "list sets", attribute(1, self._name))
        }

    def rules(self) -> dict[str, list[bytes]]:
        """Return the digest of each rule by chain, b"" for one that is not kproxy's."""
        rules: dict[str, list[bytes]] = {}
        for found in self._dump(GET_RULE, "list rules", attribute(1, self._name)):
            user_data = dict(entries(found[7])) if 7 in found else {}
            rules.setdefault(_text(found[2]), []).append(user_data.get(DIGEST, b""))
        return rules

    def targets(self, chain: str) -> list[tuple[int, str]]:
        """Return the handle of each rule of a chain, and which chain it jumps or goes to ("": to
        none, or to several).
        """
        selection = attribute(1, self._name) + _attribute_name(chain)
        return [
            (int.from_bytes(found[3], "big"), _target(found.get(4)))
            for found in self._dump(GET_RULE, "list rules", selection)
            if _text(found[2]) == chain
        ]

    def element_count(self, set_: str) -> int:
        """Return the number of elements, 0 also if there is no such set."""
        return sum(
            sum(1 for _ in attributes(found[3]))
            for found in self._dump(
                GET_ELEMENT, "list elements", attribute(1, self._name), _attribute_name(set_)
            )
            if 3 in found
        )

    def counters(self) -> dict[str, int]:
        """Return how many packets each of the table's named counters has counted."""
        selection = attribute(1, self._name), attribute(3, COUNTER.to_bytes(4, "big"))
        return {
            _text(found[2]): int.from_bytes(dict(attributes(found[4]))[2], "big")
            for found in self._dump(GET_OBJECT, "list counters", *selection)
            if found[1] == self._name
        }

    def _dump(self, kind: int, what: str, *selection: bytes) -> Iterator[dict[int, memoryview]]:
        body = self._start + b"".join(selection)
        request = Request(kind, body, (what, self._name.decode()), fine=_NO_SUCH_TABLE)
        for answer in self._session.dump(request):
            yield dict(attributes(answer[_HEADER_BYTES:]))


def _target(expressions: memoryview | None) -> str:
    """Return the chain that the last expression of a rule leads to, "" for none."""
    last = list(attributes(expressions))[-1:] if expressions else []
    for _, expression in last:
        kind, fields = (dict(attributes(expression)).get(key) for key in (1, 2))
        if kind is not None and fields is not None and _text(kind) == "immediate":
            value = dict(attributes(fields)).get(2)  # a verdict: its code, then a chain
            verdict = dict(attributes(value)).get(2) if value else None
            chain = dict(attributes(verdict)).get(2) if verdict else None
            return _text(chain) if chain else ""
    return ""


def _attribute_name(set_: str) -> bytes:
    return attribute(2, set_.encode() + b"\0")


def _text(value: memoryview) -> str:
    return bytes(value).rstrip(b"\0").decode()
