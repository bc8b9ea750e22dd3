"""Marks on the few packets that are wanted, as `Marks` makes them, with legacy iptables alone.

Its target TRACE is for the table raw, ahead of conntrack. So datagrams are marked whether or not
they are the first of their connection, and answers are recognised by the places that they come
from (`answering`). A child process deletes the rules, also if this process is killed: they are
those with our comment. No more than a hundred packets for each rule in a second are marked.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from typing import Self

from kproxy.address import Family
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.guardian import at_the_end
from kproxy.kernel.iptables_programs import name
from kproxy.kernel.trace.answering import answering
from kproxy.kernel.trace.marks import PER_SECOND
from kproxy.kernel.trace.nf_tables import TABLE
from kproxy.kernel.trace.wanted import PacketFilter
from kproxy.kernel.xtables import Xtables

_HOOKS = ("PREROUTING", "OUTPUT")
_DELETE = (
    "{ echo '*raw'; $1-save -t raw | sed -n \"/ --comment $2 /s/^-A/-D/p\"; echo COMMIT; } "
    "| $1-restore --noflush --wait=30"
)
_LIMIT = f"-m limit --limit {PER_SECOND}/sec --limit-burst {PER_SECOND}"
_ICMP = {
    Family.IPV4: "-p icmp -m icmp --icmp-type",
    Family.IPV6: "-p icmpv6 -m icmp6 --icmpv6-type",
}
_ECHO = {Family.IPV4: (8, 0), Family.IPV6: (128, 129)}  # request and reply
_ERRORS = {Family.IPV4: (3, 11), Family.IPV6: (1, 2, 3)}  # unreachable, too big, time exceeded
_BEGINS = {
    "TCP": ["--tcp-flags FIN,SYN,RST,ACK SYN"],
    "UDP": [""],
    "SCTP": ["--chunk-types any INIT"],
}
_ANSWERS = {
    "TCP": ["--tcp-flags SYN,ACK SYN,ACK", "--tcp-flags RST RST"],
    "UDP": [""],
    "SCTP": ["--chunk-types any INIT_ACK", "--chunk-types any ABORT"],
}


class LegacyMarks:
    """The marks of one namespace, from creation to `close`. A context manager."""

    def __init__(self, wanted: PacketFilter, families: Collection[Family]) -> None:
        """Mark these packets in the namespace of the calling thread from now on.

        `families`: those with tables; in them, an empty table raw stays. Raises Unsupported if this
        kernel cannot do that.
        """
        comment = f"{TABLE}-{os.getpid()}"
        answers = answering(wanted)
        with ExitStack() as undo:
            for family in families:
                undo.callback(at_the_end(_DELETE, f"{name(family)}-legacy", comment))
                lines = [
                    f"-I {hook} 1 {match} {_LIMIT} -m comment --comment {comment} -j TRACE\n"
                    for match in matches(wanted, answers, family)
                    for hook in _HOOKS
                ]
                try:
                    Xtables(family, "legacy").restore(["*raw\n", *lines, "COMMIT\n"])
                except KernelRefused as error:
                    raise Unsupported(
                        f"cannot mark packets: {error}",
                        remedy="a kernel with iptable_raw, xt_TRACE and xt_limit; or give --proto",
                    ) from None
            self._undo = undo.pop_all()

    def close(self) -> None:
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def matches(
    wanted: PacketFilter, answers: Collection[PacketFilter], family: Family
) -> Iterator[str]:
    """Yield the matches of rules that recognise what is wanted, and what answers it. Pure."""
    request, reply = _ECHO[family]
    for protocol in wanted.protocols:
        if protocol == "ICMP":
            yield f"{_ICMP[family]} {request}{_addresses(wanted)}"
            yield from (f"{_ICMP[family]} {reply}{_addresses(each)}" for each in answers)
            continue
        for each in _BEGINS[protocol]:
            yield _match(protocol, wanted, each)
        for answer in answers:
            for each in _ANSWERS[protocol]:
                yield _match(protocol, answer, each)
    for kind in _ERRORS[family]:
        yield f"{_ICMP[family]} {kind}"


def _match(protocol: str, ends: PacketFilter, more: str) -> str:
    name = protocol.lower()
    ports = (("--sport", ends.source_port), ("--dport", ends.destination_port))
    words = [f"{option} {port}" for option, port in ports if port]
    return " ".join(filter(None, [f"-p {name}{_addresses(ends)} -m {name}", *words, more]))


def _addresses(ends: PacketFilter) -> str:
    pairs = (("-s", ends.source), ("-d", ends.destination))
    return "".join(f" {option} {address}" for option, address in pairs if address)
