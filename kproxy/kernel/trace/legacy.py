"""Tracing in the kernel's own ip_tables: the target TRACE, reported through nfnetlink_log.

The kernel gives the number of the rule that matched, but not its text, and it reports a rule that
matches all packets (`-j DROP`) as the end of its chain. So the tables are read, too.
Source: net/ipv4/netfilter/ip_tables.c (get_chainname_rulenum), linux/netfilter/nfnetlink_log.h.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Iterable
from contextlib import ExitStack

from msgspec.structs import replace

from kproxy.address import Family
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel import sysctl
from kproxy.kernel.guardian import restored_at_the_end
from kproxy.kernel.netlink import Request, attribute, attributes
from kproxy.kernel.trace.listener import FAMILY_NAMES, Listener, text
from kproxy.kernel.trace.listing import SavedChain, SavedTable, parse_saved, verdict_of
from kproxy.kernel.trace.steps import Kind, TraceStep
from kproxy.kernel.xtables import Xtables

_SUBSYSTEM = 4 << 8  # NFNL_SUBSYS_ULOG
_PACKET, _CONFIG = _SUBSYSTEM | 0, _SUBSYSTEM | 1  # NFULNL_MSG_
_HEADER_BYTES = 4  # nfgenmsg
_GROUP = 0  # the kernel sends its own messages there
_BIND, _COPY_PACKET = 1, 2  # NFULNL_CFG_CMD_BIND, NFULNL_COPY_PACKET
_COPY_BYTES = 128  # an IPv6 header, and an ICMP error that quotes a whole probe
_A_IIF, _A_OIF, _A_PAYLOAD, _A_PREFIX = 4, 5, 9, 10  # NFULA_
_PREFIX = re.compile(r"TRACE: (\S+?):(\S+):(rule|return|policy):(\d+) ?")
_LOGGER = "nfnetlink_log"
_SETTINGS = ("net/netfilter/nf_log/2", "net/netfilter/nf_log/10")  # by protocol family
_HOOKS = ("PREROUTING", "OUTPUT")
_FAMILIES = {"ip": Family.IPV4, "ip6": Family.IPV6}
_RULE = "-m comment --comment kproxy-trace -j TRACE"
_OURS = re.compile(r"--comment kproxy-trace(-\d+)? -j TRACE$")  # also those of `LegacyMarks`


class LegacyTrace:
    """A trace of legacy iptables. Its methods must be called in the namespace it was made in."""

    def __init__(
        self, families: Collection[Family], buffer_bytes: int, *, marking: bool = True
    ) -> None:
        """`marking`: mark all packets. Else `Marks` or `LegacyMarks` do so, as these tables also
        report what nf_tables has marked; settings are restored if this process is killed, too.
        """
        self._order = 0
        self._saved: dict[str, dict[str, SavedTable]] = {}
        self._places: dict[tuple[str, bytes], TraceStep | None] = {}
        with ExitStack() as undo:
            self._listener = Listener(buffer_bytes)
            undo.callback(self._listener.close)
            try:
                _listen(self._listener)
                if not marking:
                    undo.callback(restored_at_the_end(_SETTINGS))
                for setting in _SETTINGS:
                    if marking:
                        undo.callback(sysctl.write, setting, sysctl.read(setting))
                    sysctl.write(setting, _LOGGER)
                for family in families if marking else ():
                    Xtables(family, "legacy").restore(_lines(f"-I {hook}" for hook in _HOOKS))
                    undo.callback(_remove, family)
            except KernelRefused as error:
                raise Unsupported(
                    f"cannot trace packets: {error}",
                    remedy="a kernel with the modules nfnetlink_log, nf_log_syslog and xt_TRACE",
                ) from None
            self._undo = undo.pop_all()

    def read(self) -> list[TraceStep]:
        self._saved.clear()
        self._places.clear()
        steps = (self._step(message) for message in self._listener.heard(_PACKET))
        return [step for step in steps if step]

    def discard(self) -> None:
        self._listener.discard()

    def describe(self, step: TraceStep) -> str:
        chain = self._tables(step.family).get(step.table, {}).get(step.chain)
        if chain is None:
            return ""
        if step.kind == "policy":
            return f"-P {step.chain} {chain.policy}"
        rules = [rule for rule in chain.rules if not _is_ours(rule)]
        return rules[step.rule - 1] if 0 < step.rule <= len(rules) else ""

    def hooks(self) -> dict[tuple[str, str, str], str]:
        return {
            (family, table, chain): chain.lower()
            for family in _FAMILIES
            for table in ("raw", "mangle", "nat", "filter", "security")
            for chain in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
        }

    def close(self) -> None:
        self._undo.close()

    def leave(self) -> None:
        self._undo.pop_all()
        self._listener.close()

    def _step(self, message: memoryview) -> TraceStep | None:
        """Return None for a message that is not part of a trace, and for our own rules."""
        found = dict(attributes(message[_HEADER_BYTES:]))
        if _A_PREFIX not in found:
            return None
        family, prefix = FAMILY_NAMES[message[0]], bytes(found[_A_PREFIX])
        if (family, prefix) not in self._places:  # most packets meet the same rules
            self._places[family, prefix] = self._place(family, text(found[_A_PREFIX]))
        place = self._places[family, prefix]
        if place is None:
            return None
        self._order += 1
        return replace(
            place,
            order=self._order,
            packet=bytes(found.get(_A_PAYLOAD, b"")),
            iif=self._listener.link_name(found.get(_A_IIF)),
            oif=self._listener.link_name(found.get(_A_OIF)),
        )

    def _place(self, family: str, prefix: str) -> TraceStep | None:
        """Return the step without the fields of its packet, or None like `_step`."""
        told = _PREFIX.fullmatch(prefix)
        if not told:
            return None
        table, name, number = told[1], told[2], int(told[4])
        chains = self._tables(family).get(table, {})
        chain = chains.get(name, SavedChain("", []))
        kind: Kind = "policy" if told[3] == "policy" else "return"
        verdict, rule = chain.policy.lower() if kind == "policy" else "continue", 0
        if number <= len(chain.rules):
            if _is_ours(chain.rules[number - 1]):
                return None
            kind, verdict = "rule", verdict_of(chain.rules[number - 1], chains)
            rule = number - sum(map(_is_ours, chain.rules[:number]))
        elif told[3] == "rule":  # it has been deleted
            kind, verdict, rule = "rule", "", number
        return TraceStep(
            order=0,
            family=family,
            table=table,
            chain=name,
            kind=kind,
            verdict=verdict,
            rule=rule,
            packet=b"",
        )

    def _tables(self, family: str) -> dict[str, SavedTable]:
        if family not in self._saved:
            self._saved[family] = parse_saved(Xtables(_FAMILIES[family], "legacy").save_text())
        return self._saved[family]


def _listen(listener: Listener) -> None:
    """Have each message sent at once, with the beginning of the packet, until the socket closes."""
    copy = struct.pack(">LBx", _COPY_BYTES, _COPY_PACKET)
    settings = (
        attribute(1, bytes([_BIND])),
        attribute(2, copy),
        attribute(5, (1).to_bytes(4, "big")),  # the number of messages sent together
    )
    what = ("listen to group", _GROUP, "of nfnetlink_log")
    header = struct.pack(">BBH", 0, 0, _GROUP)
    try:
        listener.send(Request(_CONFIG, header + setting, what) for setting in settings)
    except Unsupported as error:  # the kernel gives the same error for a group that is taken
        raise Unsupported(
            str(error),
            remedy="run as root, and stop any other program that listens to this group here",
        ) from None


def _lines(edits: Iterable[str]) -> list[str]:
    return ["*raw\n", *(f"{edit} {_RULE}\n" for edit in edits), "COMMIT\n"]


def _remove(family: Family) -> None:
    """Delete our rules, as far as they still exist."""
    tables = Xtables(family, "legacy")
    raw = parse_saved(tables.save_text()).get("raw", {})
    edits = [f"-D {hook}" for hook in _HOOKS for rule in raw[hook].rules if rule.endswith(_RULE)]
    tables.restore(_lines(edits))


def _is_ours(rule: str) -> bool:
    return _OURS.search(rule) is not None
