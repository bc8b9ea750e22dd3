"""Structures of legacy tables, and where they differ between the families. Pure.

Source: linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h, netfilter/x_tables.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from kproxy.address import Family

HEAD = struct.Struct("=H29sB")  # xt_entry_match, xt_entry_target: size, name, revision
COUNTERS = struct.Struct("=QQ")  # xt_counters: packets, bytes
HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
VERDICTS = {"DROP": -1, "ACCEPT": -2, "RETURN": -5}  # -NF_DROP - 1, -NF_ACCEPT - 1, XT_RETURN


@dataclass(frozen=True, eq=False)  # an object for each family is compared by identity: fast
class Layout:
    """An entry: what it compares itself, `entry`, its matches, its target."""

    family: Family
    ip: struct.Struct
    """Source, destination, masks, interfaces, masks of these; protocol, flags, inversions."""
    entry: struct.Struct
    """Offsets of the target and of the next entry, where packets come from, packets, bytes."""
    entry_at: int
    size: int


LAYOUTS = {
    Family.IPV4: Layout(
        family=Family.IPV4,
        ip=struct.Struct("=4s4s4s4s16s16s16s16sHBB4x"),
        entry=struct.Struct("=HHLQQ"),
        entry_at=88,
        size=112,
    ),
    Family.IPV6: Layout(
        family=Family.IPV6,
        ip=struct.Struct("=16s16s16s16s16s16s16s16sHxBB3x4x"),
        entry=struct.Struct("=HHL4xQQ"),
        entry_at=140,
        size=168,
    ),
}


def aligned(data: bytes) -> bytes:
    """Return it with the padding that follows (XT_ALIGN)."""
    return data + bytes(-len(data) % 8)


def extension(name: str, revision: int, info: bytes) -> bytes:
    """Return a match or a target."""
    info = aligned(info)
    return HEAD.pack(HEAD.size + len(info), name.encode(), revision) + info


def standard(verdict: int) -> bytes:
    """Return a target that is a verdict, or the offset of a rule."""
    return extension("", 0, struct.pack("=i", verdict))
