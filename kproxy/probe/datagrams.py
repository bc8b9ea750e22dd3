"""The payload of UDP probes, and the beginning of the answers. Pure.

Both hold the tag of the probe in their first twelve bytes, because a trace of nf_tables shows no
more of a datagram. Senders of probes and servers share nothing but this module.
"""

from __future__ import annotations

from typing import NamedTuple

PROBE, REPLY = b"kproxy?", b"kproxy!"
_START = len(PROBE)
_END = _START + 4


class Tagged(NamedTuple):
    """The tag and kind of a datagram."""

    tag: int  # the probe's, 32 bits
    reply: bool  # the datagram answers the probe


def probe(tag: int) -> bytes:
    """Return the payload of a probe."""
    return PROBE + tag.to_bytes(4, "big") + b"\n"


def reply_prefix(datagram: bytes) -> bytes:
    """Return the beginning of the answer to `datagram`, empty if that is no probe."""
    found = tagged(datagram)
    if found is None or found.reply:
        return b""
    return REPLY + datagram[_START:_END] + b"\n"


def tagged(payload: bytes) -> Tagged | None:
    """Return tag and kind of a payload, of which the beginning is enough. None for others."""
    mark = payload[:_START]
    if mark not in (PROBE, REPLY) or len(payload) < _END:
        return None
    return Tagged(int.from_bytes(payload[_START:_END], "big"), mark == REPLY)
