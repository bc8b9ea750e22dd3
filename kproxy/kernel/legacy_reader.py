"""Legacy IPv4 tables read in this process, through python-iptables, as iptables-save prints them.

Only IPv4: since iptables 1.8.9 the NAT targets share one library, and python-iptables 1.2.0 finds
DNAT only for the first family that a process reads; made to load it again, libxtables exits.

Only rules of the kinds that a service proxy writes. Of others python-iptables loses parts (`-f`,
`-g`, quotes, the second of two matches of a kind), or it raises an error, or it reads past their
end: a match of another revision has another size. So a rule is looked at before it is decoded.

Rules are returned as text because that is how rules are compared everywhere else. White space
within a rule is one blank, where iptables-save 1.8.9 prints two after `--nfacct-name`.
"""

from __future__ import annotations

import ctypes
import re
import struct
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from kproxy.errors import KernelRefused
from kproxy.kernel.iptables_legacy.layout import HEAD

# libxtables keeps its state in global variables of the process.
_library = threading.Lock()

_ADDRESSING = {
    "src": "-s",
    "dst": "-d",
    "in-interface": "-i",
    "out-interface": "-o",
    "protocol": "-p",
}
_NOT_MATCHES = {*_ADDRESSING, "target", "counters"}

_MATCHES = {
    *("addrtype", "comment", "conntrack", "mark", "nfacct"),
    *("recent", "sctp", "statistic", "tcp", "udp"),
}
_TARGETS = {"", "DNAT", "MARK", "MASQUERADE", "REJECT"}  # "": a verdict, or a chain
_PROTOCOLS = {0, 1, 6, 17, 132}  # iptables-save takes the names of others from a file
# Of struct ipt_entry (ip_tables.h): both masks, protocol, flags, inversions, offset of the target.
_ENTRY = struct.Struct("=8x4s4s64xHBB4xH22x")
_INVERTED_SOURCE, _INVERTED_DESTINATION = 0x08, 0x10  # IPT_INV_SRCIP, IPT_INV_DSTIP
_PLAIN = re.compile(r"[\w.:/,+-]*", re.ASCII)
_PLAIN_COMMENT = re.compile(r"[A-Za-z0-9][\w.:/,; -]*", re.ASCII)


class ForeignRule(Exception):
    """The table has a rule of a kind that only iptables-save reads as it is."""


class Part(Struct, frozen=True):
    """A match or the target of a rule."""

    is_match: bool
    name: str
    revision: int


def read_table(table: str) -> dict[str, list[str]]:
    """Return the rules by chain of a legacy table in the calling thread's namespace.

    Raises KernelRefused, and ForeignRule if a rule is of no kind that a service proxy writes.
    """
    with _library, warnings.catch_warnings():
        # On a kernel with modules iptc reads the path of modprobe, and leaves that file open.
        warnings.simplefilter("ignore", ResourceWarning)
        import iptc  # takes 0.5 s, and only legacy tables need it

        library = iptc.ip4tc.xtables(iptc.ip4tc.NFPROTO_IPV4)

        def is_known(part: Part) -> bool:
            find = library.find_match if part.is_match else library.find_target
            found = find(part.name)
            return bool(found) and found[0].revision == part.revision

        try:
            handle = iptc.Table(table, autocommit=False)
            handle.refresh()  # iptc may reuse an object that read another namespace
            try:
                return {chain.name: [*_rules(handle, chain, is_known)] for chain in handle.chains}
            finally:
                handle.close()
        except iptc.ip4tc.IPTCError as error:
            raise KernelRefused(f"legacy table {table}: {error}") from error


def _rules(handle: Any, chain: Any, is_known: Callable[[Part], bool]) -> Iterator[str]:
    import iptc

    entry = handle.first_rule(chain.name)
    while entry:
        raw = ctypes.string_at(ctypes.addressof(entry), entry.next_offset)
        if not all(map(is_known, parts_of(raw))):
            raise ForeignRule
        yield rule_text(iptc.easy.decode_iptc_rule(handle.create_rule(entry, chain)))
        entry = handle.next_rule(entry)


def parts_of(entry: bytes) -> list[Part]:
    """Return matches and target of a rule as the kernel has it.

    Raises ForeignRule if it has something that no rule of a service proxy has.
    """
    source, destination, protocol, flags, inverted, offset = _ENTRY.unpack_from(entry)
    if (
        flags
        or protocol not in _PROTOCOLS
        or not (_is_prefix(source) and _is_prefix(destination))
        or (inverted & _INVERTED_SOURCE and not any(source))
        or (inverted & _INVERTED_DESTINATION and not any(destination))
    ):
        raise ForeignRule
    parts = []
    position = _ENTRY.size
    while position < offset:
        size, name, revision = HEAD.unpack_from(entry, position)
        parts.append(Part(True, _name(name), revision))
        position += size
    _, name, revision = HEAD.unpack_from(entry, offset)
    parts.append(Part(False, _name(name), revision))
    *names, target = (part.name for part in parts)
    if target not in _TARGETS or not _MATCHES.issuperset(names) or len({*names}) < len(names):
        raise ForeignRule
    return parts


def _is_prefix(mask: bytes) -> bool:
    zeros = ~int.from_bytes(mask) & 0xFFFFFFFF
    return not zeros & zeros + 1


def _name(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("ascii", "replace")


def rule_text(rule: Mapping[str, Any]) -> str:
    """Return a decoded rule of python-iptables as iptables-save prints it, without chain and
    counters. Raises ForeignRule if that is not known.
    """
    return " ".join([*_addressing(rule), *_matches(rule), *_target(rule)])


def _addressing(rule: Mapping[str, Any]) -> Iterator[str]:
    for key, option in _ADDRESSING.items():
        if key in rule:
            value = str(rule[key])
            yield f"! {option} {value[1:]}" if value.startswith("!") else f"{option} {value}"


def _matches(rule: Mapping[str, Any]) -> Iterator[str]:
    for name, options in rule.items():
        if name not in _NOT_MATCHES:
            yield " ".join([f"-m {name}", *_options(options)])


def _target(rule: Mapping[str, Any]) -> Iterator[str]:
    if target := rule.get("target"):
        if isinstance(target, str):
            yield f"-j {target}"
        else:
            for name, options in target.items():
                yield " ".join([f"-j {name}", *_options(options)])


def _options(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        match value:
            case str() if name == "comment" and _PLAIN_COMMENT.fullmatch(value):
                yield f"--{name} {_quoted(value)}"
            case str() if name != "comment" and _PLAIN.fullmatch(value):
                yield f"--{name} {value}" if value else f"--{name}"
            case ["!", str(one)] if _PLAIN.fullmatch(one):
                yield f"! --{name} {one}"
            case _:
                raise ForeignRule


def _quoted(text: str) -> str:
    """Quote the text if iptables-save would (xtables.c, xtables_save_string)."""
    return text if re.fullmatch(r"[\w-]+", text, re.ASCII) else f'"{text}"'
