"""A legacy table, as the kernel gives and takes it. Pure.

Entries follow one another: each chain's head, rules and end, then one that ends the table. What
leads to a chain has the offset of its first rule. Source: iptables 1.8.9 libiptc/libiptc.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from msgspec import Struct

from kproxy.kernel.iptables_legacy.layout import (
    COUNTERS,
    HEAD,
    HOOKS,
    VERDICTS,
    Layout,
    extension,
    standard,
)
from kproxy.kernel.iptables_legacy.rule import Rule
from kproxy.kernel.legacy_tables import Raw

_ERROR = "ERROR"  # the target of a chain's head and of the table's end; its data is a name
_NAME_BYTES = 30  # XT_FUNCTION_MAXNAMELEN
_VERDICT = struct.Struct("=i")
_REPLACE = struct.Struct("@32sIII5I5IIP")  # struct ipt_replace, then the entries
_WORDS = {number: word for word, number in VERDICTS.items()}
_NO_COUNTS = COUNTERS.pack(0, 0)


class NotUnderstood(Exception):
    """A table has what libiptc does not write."""


class Line(Struct):
    """A rule with its counters. `was` is its place in the kernel's table, -1 if it is new."""

    rule: Rule
    counts: bytes = _NO_COUNTS
    was: int = -1


class Chain(Struct):
    """`policy` is the end of a built-in chain, None in others."""

    name: str
    lines: list[Line]
    policy: Line | None = None


def read(layout: Layout, raw: Raw) -> list[Chain]:
    """Return the chains in the order of the kernel. Raises NotUnderstood."""
    hooks = {raw.starts[n]: name for n, name in enumerate(HOOKS) if raw.hooks & 1 << n}
    chains: list[Chain] = []
    leads: list[tuple[Line, int]] = []  # lines whose jumps are offsets so far
    names: dict[int, str] = {}  # of chains, by the offset of their first rule
    for was, (offset, entry) in enumerate(entries_of(layout, raw.entries)):
        target_at, following, _, packets, octets = layout.entry.unpack_from(entry, layout.entry_at)
        _, name, _ = HEAD.unpack_from(entry, target_at)
        if offset in hooks:
            chains.append(Chain(hooks[offset], []))
        elif name.rstrip(b"\0") == _ERROR.encode():
            label = entry[target_at + HEAD.size :].partition(b"\0")[0].decode()
            chains.append(Chain(label, []))
            names[offset + following] = label
            continue
        head = entry[: layout.entry_at] + layout.entry.pack(target_at, following, 0, 0, 0)
        line = Line(
            Rule(head + entry[layout.size : target_at], entry[target_at:], ""),
            COUNTERS.pack(packets, octets),
            was,
        )
        if not name.rstrip(b"\0"):
            (verdict,) = _VERDICT.unpack_from(entry, target_at + HEAD.size)
            line.rule = Rule(line.rule.head, b"", _WORDS.get(verdict, ""))
            if verdict < 0 and verdict not in _WORDS:
                raise NotUnderstood(f"verdict {verdict}")
            if verdict >= 0 and verdict != offset + following:
                leads.append((line, verdict))
        if not chains:
            raise NotUnderstood("a rule in front of all chains")
        chains[-1].lines.append(line)
    for line, verdict in leads:
        if verdict not in names:
            raise NotUnderstood("a jump into a chain")
        line.rule = Rule(line.rule.head, b"", names[verdict])
    if not chains or chains.pop().name != _ERROR:
        raise NotUnderstood("a table without an end")
    for chain in chains:
        if not chain.lines:
            raise NotUnderstood("a chain without an end")
        end = chain.lines.pop()
        if chain.name in HOOKS:
            chain.policy = end
    return chains


def write(layout: Layout, name: str, raw: Raw, chains: Sequence[Chain], old: int) -> bytes:
    """Return the message that puts these chains in place of what `raw` was read from. `old` is the
    address of a buffer for the counters of that.
    """
    offsets: dict[str, int] = {}  # of first rules
    offset = 0
    starts, ends = list(raw.starts), list(raw.ends)
    plain = layout.size + len(standard(0))
    headed = layout.size + len(_named(_ERROR))
    for chain in chains:
        if chain.policy:
            starts[HOOKS.index(chain.name)] = offset
        else:
            offset += headed
        offsets[chain.name] = offset
        offset += sum(len(line.rule.head) + _target_size(line.rule) for line in chain.lines)
        if chain.policy:
            ends[HOOKS.index(chain.name)] = offset
        offset += plain
    parts: list[bytes] = []
    offset = 0
    for chain in chains:
        if not chain.policy:
            parts.append(_entry(layout, _named(chain.name)))
            offset += headed
        for line in chain.lines:
            rule = line.rule
            offset += len(rule.head) + _target_size(rule)
            parts += rule.head, rule.target or _standard(rule.jump, offset, offsets)
        end = chain.policy.rule.jump if chain.policy else "RETURN"
        parts.append(_entry(layout, standard(VERDICTS[end])))
        offset += plain
    parts.append(_entry(layout, _named(_ERROR)))
    body = b"".join(parts)
    number = sum(len(chain.lines) + 1 + (not chain.policy) for chain in chains) + 1
    head = _REPLACE.pack(
        *(name.encode(), raw.hooks, number, len(body), *starts, *ends, raw.number, old)
    )
    return head + body


def kept(chains: Sequence[Chain]) -> list[Line | None]:
    """Return for each entry of a written table the line whose counters it is to keep, if any."""
    found: list[Line | None] = []
    for chain in chains:
        if not chain.policy:
            found.append(None)
        found += (line if line.was >= 0 else None for line in chain.lines)
        found.append(chain.policy)
    return [*found, None]


def entries_of(layout: Layout, data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset < len(data):
        following = layout.entry.unpack_from(data, offset + layout.entry_at)[1]
        if following < layout.size:
            raise NotUnderstood("an entry without an end")
        yield offset, data[offset : offset + following]
        offset += following


def _entry(layout: Layout, target: bytes) -> bytes:
    """Return an entry without any condition."""
    size = layout.size + len(target)
    return bytes(layout.entry_at) + layout.entry.pack(layout.size, size, 0, 0, 0) + target


def _named(name: str) -> bytes:
    return extension(_ERROR, 0, name.encode().ljust(_NAME_BYTES, b"\0"))


def _target_size(rule: Rule) -> int:
    return len(rule.target) or len(standard(0))


def _standard(jump: str, following: int, offsets: dict[str, int]) -> bytes:
    """Return the target of a verdict, a chain, or of a rule that only counts."""
    if not jump:
        return standard(following)
    return standard(VERDICTS[jump] if jump in VERDICTS else offsets[jump])
