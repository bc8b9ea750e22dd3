"""One rule of iptables-restore's text as legacy tables have it. Pure.

What nf_tables has no words for it takes from the legacy variant (`iptables_nft.extensions`), so
these structures are the same.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from functools import cache, lru_cache

from msgspec import Struct

from kproxy.address import Family
from kproxy.kernel.iptables_legacy.layout import LAYOUTS, Layout, extension, standard
from kproxy.kernel.iptables_nft import extensions as nft
from kproxy.kernel.iptables_nft.extensions import PROTOCOLS, Unknown
from kproxy.kernel.iptables_nft.rule import OTHER_TARGETS, split
from kproxy.kernel.iptables_nft.words import Words
from kproxy.kernel.netlink import attributes

INVERT = {"-i": 0x01, "-o": 0x02, "-s": 0x08, "-d": 0x10}  # IPT_INV_*, IP6T_INV_*
_PROTOCOL_GIVEN = 0x01  # IP6T_F_PROTO
_INVERT_DESTINATION_PORT = {"tcp": 0x02, "udp": 0x02}  # XT_TCP_INV_DSTPT, XT_UDP_INV_DSTPT
_ANY = (0, 0xFFFF)
_NUMBERED = PROTOCOLS | {str(number): number for number in PROTOCOLS.values()}
# What iptables-save prints of what kproxy leaves out.
REJECTED = {Family.IPV4: "icmp-port-unreachable", Family.IPV6: "icmp6-port-unreachable"}
WHOLE = {Family.IPV4: "255.255.255.255", Family.IPV6: ":".join(["ffff"] * 8)}  # masks


class Rule(Struct, frozen=True):
    """A rule without counters.

    `head` is what is before the target. `target` is one of the extensions, b"" if the rule has a
    verdict, leads to a chain, or only counts; `jump` is the verdict, the chain or "".
    """

    head: bytes
    target: bytes
    jump: str


class _Reader(Words):
    """A rule whose words are being read."""

    __slots__ = (
        "given",
        "inverted",
        "jump",
        "layout",
        "matches",
        "target",
    )

    def __init__(self, layout: Layout, words: list[str]) -> None:
        self.layout = layout
        super().__init__(words)
        self.given: dict[str, str] = {}  # of the options in front of the matches
        self.inverted = 0
        self.matches: dict[str, bytes] = {}
        self.target = b""
        self.jump = ""

    def rule(self) -> Rule:
        for name in PROTOCOLS:
            if name in self.matches and self.given.get("-p") != name:
                raise Unknown(f"{name} of another protocol")
        matches = b"".join(self.matches.values())
        layout = self.layout
        size = layout.size + len(matches)
        whole = size + len(self.target or standard(0))
        return Rule(
            self._compared() + layout.entry.pack(size, whole, 0, 0, 0) + matches,
            self.target,
            self.jump,
        )

    def _compared(self) -> bytes:
        given = self.given
        source, source_mask = _address(self.layout.family, given.get("-s", ""))
        destination, destination_mask = _address(self.layout.family, given.get("-d", ""))
        incoming, incoming_mask = _interface(given.get("-i", ""))
        outgoing, outgoing_mask = _interface(given.get("-o", ""))
        protocol = PROTOCOLS[given["-p"]] if "-p" in given else 0
        of_protocol = self.layout.family is Family.IPV6 and "-p" in given
        return self.layout.ip.pack(
            *(source, destination, source_mask, destination_mask),
            *(incoming, outgoing, incoming_mask, outgoing_mask),
            *(protocol, _PROTOCOL_GIVEN if of_protocol else 0, self.inverted),
        )


@lru_cache(4096)
def encode(family: Family, text: str) -> Rule:
    """Return a rule, given as the text after "-A CHAIN ", with the numbers of ipsets in place of
    their names. Raises Unknown.
    """
    reader = _Reader(LAYOUTS[family], split(text))
    try:
        while reader.at < len(reader.words):
            option = reader.value()
            if option == "!":
                option = reader.value()
                reader.equal = False
            if not reader.equal and option not in (*INVERT, "--dport"):
                raise Unknown(f"! {option}")
            _OPTIONS[option](reader)
            reader.equal = True
        return reader.rule()
    except (KeyError, IndexError, ValueError, struct.error) as error:
        raise Unknown(f"{error} in {text!r}") from None


def _plain(option: str) -> Callable[[_Reader], None]:
    def read(reader: _Reader) -> None:
        if option in reader.given:
            raise Unknown(f"{option} twice")
        reader.given[option] = reader.value()
        if not reader.equal:
            reader.inverted |= INVERT[option]

    return read


def _match(reader: _Reader) -> None:
    name = reader.value()
    if name in reader.matches:
        raise Unknown(f"{name} twice")
    reader.matches[name] = _MATCHES[name](reader)


def _destination_port(reader: _Reader) -> None:
    protocol = reader.given["-p"]
    if reader.matches.get(protocol, _any_port(protocol)) != _any_port(protocol):
        raise Unknown("--dport twice")
    reader.matches[protocol] = _port(protocol, reader.value(), reader.equal)


def _target(reader: _Reader) -> None:
    name = reader.value()
    if reader.target or reader.jump:
        raise Unknown("two targets")
    if name in _TARGETS:
        reader.target = _TARGETS[name](reader)
    elif name in OTHER_TARGETS:
        raise Unknown(f"the target {name}")
    else:
        reader.jump = name


def _of_nf_tables(expression: bytes) -> bytes:
    """Return the extension that an expression of nf_tables has nf_tables call."""
    ((_, parts),) = attributes(memoryview(expression))
    fields = dict(attributes(dict(attributes(parts))[2]))
    name = bytes(fields[1]).rstrip(b"\0").decode()
    return extension(name, int.from_bytes(fields[2], "big"), bytes(fields[3]))


def _any_port(protocol: str) -> bytes:
    return _of_nf_tables(nft.any_port(protocol))


@lru_cache(4096)
def _port(protocol: str, text: str, equal: bool) -> bytes:
    if protocol == "sctp":
        return _of_nf_tables(nft.destination_port(protocol, text, equal))
    number = nft.port(text)
    inverted = 0 if equal else _INVERT_DESTINATION_PORT[protocol]
    # xt_tcp, xt_udp: source ports, destination ports; option, mask of flags, flags; inverted.
    between = "3x" if protocol == "tcp" else ""
    return extension(protocol, 0, struct.pack(f"=4H{between}B", *_ANY, number, number, inverted))


def _of_protocol(name: str) -> Callable[[_Reader], bytes]:
    return lambda _: _any_port(name)


def _comment(reader: _Reader) -> bytes:
    return _of_nf_tables(nft.comment(reader.needs("--comment")))


def _statistic(reader: _Reader) -> bytes:
    share = reader.needs("--mode", "random", "--probability")
    return _of_nf_tables(nft.statistic(share))


def _recent(reader: _Reader) -> bytes:
    named = reader.takes("--name")  # iptables-save prints it behind what it does
    name = reader.value() if named else ""
    remembers = reader.takes("--set")
    seconds = 0 if remembers else int(reader.needs("--rcheck", "--seconds"))
    reap = reader.takes("--reap")
    if not named:
        name = reader.needs("--name")
        if reader.needs("--mask") != WHOLE[reader.layout.family] or not reader.takes("--rsource"):
            raise Unknown("another part of the source")
    if remembers:
        return _of_nf_tables(nft.remembered(name))
    return _of_nf_tables(nft.recent(name, seconds, reap=reap))


def _mark(reader: _Reader) -> bytes:
    inverted = reader.takes("!")
    value, slash, mask = reader.needs("--mark").partition("/")
    numbers = int(value, 0), int(mask, 0) if slash else 0xFFFFFFFF
    return extension("mark", 1, struct.pack("=LLB", *numbers, inverted))


def _conntrack(reader: _Reader) -> bytes:
    equal = not reader.takes("!")
    return _of_nf_tables(nft.connection_state(reader.needs("--ctstate"), equal))


def _address_type(reader: _Reader) -> bytes:
    equal = not reader.takes("!")
    source = reader.takes("--src-type")
    if (reader.value() if source else reader.needs("--dst-type")) != "LOCAL":
        raise Unknown("another address type than LOCAL")
    return _of_nf_tables(nft.address_type(source=source, equal=equal))


def _packet_counter(reader: _Reader) -> bytes:
    return _of_nf_tables(nft.packet_counter(reader.needs("--nfacct-name")))


def _physical_device(reader: _Reader) -> bytes:
    if not reader.takes("!", "--physdev-is-in"):
        raise Unknown("anything of physdev but ! --physdev-is-in")
    return _of_nf_tables(nft.from_no_bridge_port())


def _set(reader: _Reader) -> bytes:
    equal = not reader.takes("!")
    index = int(reader.needs("--match-set"))
    return _of_nf_tables(nft.set_match(index, reader.value(), equal))


def _virtual_server(reader: _Reader) -> bytes:
    before = reader.value() if reader.takes("--vaddr") else ""  # iptables-save prints it behind
    number = _NUMBERED[reader.needs("--vproto")]
    host = before or reader.needs("--vaddr")
    if "/" in host:
        raise Unknown("more than one address")
    address, _ = _address(reader.layout.family, host)
    port = nft.port(reader.needs("--vport")).to_bytes(2)
    # xt_ipvs: address, mask, port, protocol; method and control port; inverted, what is compared.
    info = struct.pack("=16s16s2sBBHBB", address, b"\xff" * 16, port, number, 0, 0, 0, 0x0F)
    return extension("ipvs", 0, info)


def _set_mark(reader: _Reader) -> bytes:
    operation = reader.value()
    if operation != "--set-xmark":
        return _of_nf_tables(nft.set_mark(operation, reader.value()))
    value, _, mask = reader.value().partition("/")
    return extension("MARK", 2, struct.pack("=LL", int(value, 0), int(mask, 0)))


def _masquerade(reader: _Reader) -> bytes:
    fully = reader.takes("--random-fully")
    return _of_nf_tables(nft.masquerade(reader.layout.family, random_fully=fully))


def _translate(reader: _Reader) -> bytes:
    to = reader.needs("--to-destination")
    return _of_nf_tables(nft.translate_destination(reader.layout.family, to))


def _reject(reader: _Reader) -> bytes:
    family = reader.layout.family
    if reader.takes("--reject-with") and reader.value() != REJECTED[family]:
        raise Unknown("another answer")
    return _of_nf_tables(nft.reject(family))


@lru_cache(1024)
def _address(family: Family, text: str) -> tuple[bytes, bytes]:
    """Return an address and a mask, in which nothing counts if there is none."""
    if not text:
        text = "0.0.0.0/0" if family is Family.IPV4 else "::/0"
    number, slash, length = text.partition("/")
    try:
        value = socket.inet_pton(family.socket_family, number)
    except OSError:
        raise Unknown(f"the address {text}") from None
    whole = len(value) * 8
    bits = whole if not slash else int(length) if length.isdecimal() else -1
    if not 0 <= bits <= whole:
        raise Unknown(f"the prefix {text}")
    mask = ((1 << bits) - 1) << (whole - bits)
    first = int.from_bytes(value) & mask
    return first.to_bytes(len(value)), mask.to_bytes(len(value))


@cache
def _interface(name: str) -> tuple[bytes, bytes]:
    """Return a name and what to compare of it: with `+` at the end only what is before that."""
    if name == "+" or len(name) > 15:
        raise Unknown(f"the interface {name}")
    if not name:
        return b"", b""
    compared = len(name) - 1 if name.endswith("+") else len(name) + 1
    return name.encode(), b"\xff" * compared


_OPTIONS: dict[str, Callable[[_Reader], None]] = {
    **{option: _plain(option) for option in (*INVERT, "-p")},
    "-m": _match,
    "-j": _target,
    "--dport": _destination_port,
}
_MATCHES: dict[str, Callable[[_Reader], bytes]] = {
    **{name: _of_protocol(name) for name in PROTOCOLS},
    "comment": _comment,
    "statistic": _statistic,
    "recent": _recent,
    "mark": _mark,
    "conntrack": _conntrack,
    "addrtype": _address_type,
    "nfacct": _packet_counter,
    "physdev": _physical_device,
    "set": _set,
    "ipvs": _virtual_server,
}
_TARGETS: dict[str, Callable[[_Reader], bytes]] = {
    "MARK": _set_mark,
    "MASQUERADE": _masquerade,
    "DNAT": _translate,
    "REJECT": _reject,
    "TRACE": lambda _: extension("TRACE", 0, b""),
}
