"""What a UDP probe carries, and how the answer to it begins. Pure.

Both hold the tag of the probe in their first twelve bytes, because a trace of nf_tables shows no
more of a datagram. Those who send probes and those who answer share nothing but this.
"""

from __future__ import annotations

from typing import NamedTuple

PROBE, REPLY = b"kproxy?", b"kproxy!"
_START = len(PROBE)
_END = _START + 4


class Tagged(NamedTuple):
    """`tag`: of the probe, 32 bits. `reply`: the datagram answers it."""

    tag: int
    reply: bool


def probe(tag: int) -> bytes:
    """The payload of a probe."""
    return PROBE + tag.to_bytes(4, "big") + b"\n"


def reply_prefix(datagram: bytes) -> bytes:
    """What the answer to `datagram` begins with: nothing, if that is no probe."""
    found = tagged(datagram)
    if found is None or found.reply:
        return b""
    return REPLY + datagram[_START:_END] + b"\n"


def tagged(payload: bytes) -> Tagged | None:
    """What `payload`, or as much of it as is known, is: None if neither a probe nor a reply."""
    mark = payload[:_START]
    if mark not in (PROBE, REPLY) or len(payload) < _END:
        return None
    return Tagged(int.from_bytes(payload[_START:_END], "big"), mark == REPLY)
