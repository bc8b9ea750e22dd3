"""A rule of a legacy table as iptables-save prints it. Pure.

Only rules of the kinds that `rule` encodes. A text counts only if it is encoded as the same bytes,
so whatever else is in a rule, in any of its fields, is left to the program.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache

from kproxy.address import Family
from kproxy.kernel.iptables_legacy.layout import HEAD, LAYOUTS
from kproxy.kernel.iptables_legacy.rule import INVERT, REJECTED, WHOLE, Rule, encode
from kproxy.kernel.iptables_nft.extensions import CT_STATES, PROTOCOLS, Unknown

_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
_BARE = re.compile(r"[\w-]+", re.ASCII)
_PLAIN = re.compile(r"[ !#-\[\]-~]*")  # iptables-save puts a backslash before " and \, too
_STATES = ("INVALID", "NEW", "RELATED", "ESTABLISHED", "SNAT", "DNAT")  # as they are printed


@lru_cache(4096)
def decode(family: Family, rule: Rule) -> str:
    """Return its text without chain and counters, with the numbers of ipsets in place of their
    names. Raises Unknown.
    """
    try:
        text = " ".join([*_compared(family, rule), *_matches(family, rule), *_target(family, rule)])
        same = encode(family, text)
    except (KeyError, ValueError, struct.error) as error:
        raise Unknown(str(error)) from None
    if same != rule:
        raise Unknown(f"more than {text!r}")
    return text


def _compared(family: Family, rule: Rule) -> Iterator[str]:
    fields = LAYOUTS[family].ip.unpack_from(rule.head)
    source, destination, source_mask, destination_mask = fields[:4]
    incoming, outgoing = map(_text, fields[4:6])
    protocol, _, inverted = fields[8:]
    for option, value in (
        ("-s", _prefix(family, source, source_mask)),
        ("-d", _prefix(family, destination, destination_mask)),
        ("-i", incoming),
        ("-o", outgoing),
        ("-p", _PROTOCOL_NAMES[protocol] if protocol else ""),
    ):
        if value:
            yield f"{'! ' if inverted & INVERT.get(option, 0) else ''}{option} {value}"


def _prefix(family: Family, address: bytes, mask: bytes) -> str:
    length = int.from_bytes(mask).bit_count()
    return f"{socket.inet_ntop(family.socket_family, address)}/{length}" if length else ""


def _matches(family: Family, rule: Rule) -> Iterator[str]:
    position = LAYOUTS[family].size
    while position < len(rule.head):
        size, name = _head(rule.head, position)
        info = rule.head[position + HEAD.size : position + size]
        yield f"-m {name}{_MATCHES[name](family, info)}"
        position += size
        if size < HEAD.size:
            raise Unknown("a match without an end")


def _target(family: Family, rule: Rule) -> Iterator[str]:
    if rule.target:
        _, name = _head(rule.target, 0)
        yield f"-j {name}{_TARGETS[name](family, rule.target[HEAD.size :])}"
    elif rule.jump:
        yield f"-j {rule.jump}"


def _head(data: bytes, position: int) -> tuple[int, str]:
    size, name, _ = HEAD.unpack_from(data, position)
    return size, name.rstrip(b"\0").decode()


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode()


def _not(inverted: int) -> str:
    return " !" if inverted else ""


def _comment(_: Family, info: bytes) -> str:
    text = _text(info)
    if not _PLAIN.fullmatch(text):
        raise Unknown(f"the comment {text!r}")
    if _BARE.fullmatch(text):
        return f" --comment {text}"
    escaped = text.replace("'", "\\'")  # as iptables-save does
    return f' --comment "{escaped}"'


def _tcp(_: Family, info: bytes) -> str:
    _, _, first, last, inverted = struct.unpack_from("=4H3xB", info)
    return _port(first, last, inverted)


def _udp(_: Family, info: bytes) -> str:
    _, _, first, last, inverted = struct.unpack_from("=4HB", info)
    return _port(first, last, inverted)


def _sctp(_: Family, info: bytes) -> str:
    first, last = struct.unpack_from("=2H", info)
    flags, inverted = struct.unpack_from("=LL", info, 284)
    return _port(first, last if flags else 0xFFFF, inverted)


def _port(first: int, last: int, inverted: int) -> str:
    return "" if (first, last) == (0, 0xFFFF) else f"{_not(inverted)} --dport {first}"


def _statistic(_: Family, info: bytes) -> str:
    (share,) = struct.unpack_from("=L", info, 4)
    return f" --mode random --probability {share / 0x80000000:.11f}"


def _recent(family: Family, info: bytes) -> str:
    seconds, _, what, _ = struct.unpack_from("=LLBB", info)
    name = _text(info[10:210])
    check = " --set" if what & 0x2 else f" --rcheck --seconds {seconds}"
    reap = " --reap" if what & 0x20 else ""
    return f"{check}{reap} --name {name} --mask {WHOLE[family]} --rsource"


def _mark(_: Family, info: bytes) -> str:
    value, mask, inverted = struct.unpack_from("=LLB", info)
    return f"{_not(inverted)} --mark {value:#x}" + ("" if mask == 0xFFFFFFFF else f"/{mask:#x}")


def _conntrack(_: Family, info: bytes) -> str:
    _, inverted, states = struct.unpack_from("=HHH", info, 146)
    names = ",".join(name for name in _STATES if states & CT_STATES[name])
    return f"{_not(inverted)} --ctstate {names}"


def _address_type(_: Family, info: bytes) -> str:
    source, _, flags = struct.unpack_from("=HHL", info)
    return f"{_not(flags & 3)} --{'src' if source else 'dst'}-type LOCAL"


def _packet_counter(_: Family, info: bytes) -> str:
    return f" --nfacct-name  {_text(info[:32])}"


def _physical_device(_family: Family, _info: bytes) -> str:
    return " ! --physdev-is-in"


def _set(_: Family, info: bytes) -> str:
    index, parts, flags = struct.unpack_from("=HBB", info)
    directions = ",".join("src" if flags & 1 << n else "dst" for n in range(1, parts + 1))
    return f"{_not(flags & 1)} --match-set {index} {directions}"


def _virtual_server(family: Family, info: bytes) -> str:
    width = 4 if family is Family.IPV4 else 16
    host = socket.inet_ntop(family.socket_family, info[:width])
    return f" --vproto {info[34]} --vaddr {host} --vport {int.from_bytes(info[32:34])}"


def _set_mark(_: Family, info: bytes) -> str:
    value, mask = struct.unpack_from("=LL", info)
    return f" --set-xmark {value:#x}/{mask:#x}"


def _masquerade(family: Family, info: bytes) -> str:
    (flags,) = struct.unpack_from("=L", info, 4 if family is Family.IPV4 else 0)
    return " --random-fully" if flags else ""


def _translate(family: Family, info: bytes) -> str:
    width = 4 if family is Family.IPV4 else 16
    host = socket.inet_ntop(family.socket_family, info[4 : 4 + width])
    number = int.from_bytes(info[36:38])
    return f" --to-destination {host if family is Family.IPV4 else f'[{host}]'}:{number}"


def _reject(family: Family, _: bytes) -> str:
    return f" --reject-with {REJECTED[family]}"


_MATCHES: dict[str, Callable[[Family, bytes], str]] = {
    "addrtype": _address_type,
    "comment": _comment,
    "conntrack": _conntrack,
    "ipvs": _virtual_server,
    "mark": _mark,
    "nfacct": _packet_counter,
    "physdev": _physical_device,
    "recent": _recent,
    "sctp": _sctp,
    "set": _set,
    "statistic": _statistic,
    "tcp": _tcp,
    "udp": _udp,
}
_TARGETS: dict[str, Callable[[Family, bytes], str]] = {
    "DNAT": _translate,
    "MARK": _set_mark,
    "MASQUERADE": _masquerade,
    "REJECT": _reject,
    "TRACE": lambda *_: "",
}
