"""Files of captured packets, as Wireshark and tcpdump read them: an interface for each link. Pure.

Source: draft-ietf-opsawg-pcapng. Values are little-endian; each option and body is padded to four
bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from msgspec import Struct

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER = 0x1A2B3C4D
_RAW_IP = 101  # LINKTYPE_RAW: the packet begins with its IP header
_END, _COMMENT = 0, 1  # options of all blocks
_APPLICATION, _NAME, _RESOLUTION, _FLAGS = 4, 2, 9, 2  # of a section; an interface; a packet
_NANOSECONDS = 9  # of if_tsresol: ten to the power of -9
_INBOUND, _OUTBOUND = 1, 2


class Packet(Struct, frozen=True, kw_only=True):
    """A packet as one host saw it."""

    interface: str
    """host/link."""
    outgoing: bool
    time_ns: int
    """Since 1970."""
    data: bytes
    """From its IP header on."""
    comment: str = ""


def pcapng(packets: Iterable[Packet], application: str) -> bytes:
    """Return a file of these packets, in the order of their times. `application` has made it."""
    ordered = sorted(packets, key=lambda each: each.time_ns)
    numbers = {
        name: place for place, name in enumerate(dict.fromkeys(each.interface for each in ordered))
    }
    section = struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1)
    blocks = [_block(_SECTION, section + _options((_APPLICATION, application.encode())))]
    for name in numbers:
        options = _options((_NAME, name.encode()), (_RESOLUTION, bytes([_NANOSECONDS])))
        blocks.append(_block(_INTERFACE, struct.pack("<HHI", _RAW_IP, 0, 0) + options))
    for each in ordered:
        length = len(each.data)
        head = struct.pack(
            *("<IIIII", numbers[each.interface], each.time_ns >> 32, each.time_ns & 0xFFFFFFFF),
            *(length, length),
        )
        flags = struct.pack("<I", _OUTBOUND if each.outgoing else _INBOUND)
        comment = [(_COMMENT, each.comment.encode())] if each.comment else []
        blocks.append(
            _block(_PACKET, head + _padded(each.data) + _options(*comment, (_FLAGS, flags)))
        )
    return b"".join(blocks)


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _options(*options: tuple[int, bytes]) -> bytes:
    listed = b"".join(
        struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options
    )
    return listed + struct.pack("<HH", _END, 0)


def _padded(value: bytes) -> bytes:
    return value + bytes(-len(value) % 4)
