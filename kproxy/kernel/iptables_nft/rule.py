"""One rule of iptables-restore's text as expressions of nf_tables. Pure.

iptables-nft begins each rule with interfaces, protocol and addresses, wherever they stand in the
text; matches follow in the order of the text, then a counter and the target.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache, lru_cache

from kproxy.kernel.iptables_nft import extensions
from kproxy.kernel.iptables_nft.dialect import Dialect
from kproxy.kernel.iptables_nft.extensions import COUNTER, PROTOCOLS, Unknown
from kproxy.kernel.iptables_nft.words import Words
from kproxy.kernel.netlink import attribute
from kproxy.kernel.nftables.expressions import NESTED, Meta

_HEADER = struct.Struct("=HH")
_EXPRESSIONS = 4 | NESTED  # NFTA_RULE_EXPRESSIONS
_JUMP = frozenset(("-j", " -j"))
_DNAT = "DNAT --to-destination"
_INPUT, _OUTPUT, _PROTOCOL, _SOURCE, _DESTINATION, _MATCHES = range(6)


class _Reader(Words):
    """A rule whose words are being read."""

    __slots__ = (
        "dialect",
        "family",
        "loaded",
        "parts",
        "place",
        "protocol",
        "target",
    )

    def __init__(self, dialect: Dialect, words: list[str]) -> None:
        self.dialect = dialect
        self.family = dialect.family
        super().__init__(words)
        self.parts = [b""] * _MATCHES  # then the matches
        self.protocol = ""
        self.loaded = ""  # the protocol whose own match is at `place` in `parts`
        self.place = 0
        self.target = b""

    def expressions(self) -> bytes:
        parts = self.parts
        if self.dialect.addresses_first:
            parts = [*parts[_SOURCE:_MATCHES], *parts[:_SOURCE], *parts[_MATCHES:]]
        return b"".join((*parts, COUNTER, self.target))


def split(text: str) -> list[str]:
    """Split a line as iptables-restore does. Raises Unknown for a backslash in a line with quotes,
    except before an apostrophe in them, where iptables-save puts one.
    """
    if '"' not in text:
        return text.split()
    parts = text.split('"')
    parts[1::2] = [part.replace("\\'", "'") for part in parts[1::2]]
    if any("\\" in part for part in parts) or len(parts) % 2 == 0:
        raise Unknown("a backslash, or quotes without an end")
    found: list[str] = []
    for number, part in enumerate(parts):
        if number % 2:
            found.append(part)
        else:
            found += part.split()
    return found


def encode(dialect: Dialect, text: str) -> bytes:
    """Return the attributes of a rule, given as the text after "-A CHAIN ", with the numbers of
    ipsets in place of their names. Raises Unknown.

    Most rules differ from others in their last word only: an endpoint, or the chain of one.
    """
    head, _, last = text.rpartition(" ")
    if '"' not in last:
        if head[-3:] in _JUMP and last not in _TARGETS:
            if head[:3] == "-s " and head.count(" ") == 2:  # of an endpoint, so there is no other
                source = extensions.address(dialect.family, head[3:-3], True, source=True)
                before, after = source + COUNTER, _protocol_attribute("")
            else:
                before, after = _head(dialect, head)
            return _attribute(before + extensions.verdict_or_jump(last), after)
        if head[-21:] == _DNAT:
            before, after = _head(dialect, head)
            return _attribute(
                before + extensions.translate_destination(dialect.family, last), after
            )
    return _whole(dialect, text)


# The nodes of a lab have most rules alike, and write them one after the other: those of a second of
# writes. What refuses packets to a Service without endpoints is soon deleted by its text, too.
@lru_cache(2048)
def _whole(dialect: Dialect, text: str) -> bytes:
    reader = _read(dialect, split(text))
    return _attribute(reader.expressions(), _protocol_attribute(reader.protocol))


def _attribute(body: bytes, protocol: bytes) -> bytes:
    return _HEADER.pack(len(body) + 4, _EXPRESSIONS) + body + protocol


def expressions(dialect: Dialect, text: str) -> bytes:
    """Return the expressions of a rule. Raises Unknown."""
    return _read(dialect, split(text)).expressions()


@lru_cache(1024)
def _head(dialect: Dialect, text: str) -> tuple[bytes, bytes]:
    """Return what stands before the target of a rule and behind it. `text` lacks the last word."""
    words = split(text)
    reader = _read(dialect, words[: -1 if words[-1] == "-j" else -3])
    if reader.target:
        raise Unknown("two targets")
    return reader.expressions(), _protocol_attribute(reader.protocol)


def _read(dialect: Dialect, words: list[str]) -> _Reader:
    reader = _Reader(dialect, words)
    given = set()
    try:
        while reader.at < len(words):
            option = reader.value()
            if option == "!":
                option = reader.value()
                reader.equal = False
            if (option in given and option != "-m") or not (reader.equal or option in _INVERTIBLE):
                raise Unknown(f"{option}, inverted or again")
            given.add(option)
            _OPTIONS[option](reader)
            reader.equal = True
    except (KeyError, IndexError, ValueError, struct.error) as error:
        raise Unknown(f"{error} in {' '.join(words)!r}") from None
    if reader.loaded not in ("", reader.protocol):
        raise Unknown(f"{reader.loaded} of protocol {reader.protocol}")
    return reader


def _interface(index: int, key: Meta) -> Callable[[_Reader], None]:
    def read(reader: _Reader) -> None:
        reader.parts[index] = extensions.interface(key, reader.value(), reader.equal)

    return read


def _protocol(reader: _Reader) -> None:
    reader.protocol = reader.value()
    reader.parts[_PROTOCOL] = extensions.protocol(
        reader.protocol, in_header=reader.dialect.protocol_in_header
    )


def _source(reader: _Reader) -> None:
    text = reader.value()
    reader.parts[_SOURCE] = extensions.address(reader.family, text, reader.equal, source=True)


def _destination(reader: _Reader) -> None:
    text = reader.value()
    reader.parts[_DESTINATION] = extensions.address(reader.family, text, reader.equal, source=False)


def _match(reader: _Reader) -> None:
    _MATCHES_BY_NAME[reader.value()](reader)


def _comment(reader: _Reader) -> None:
    reader.parts.append(extensions.comment(reader.needs("--comment")))


def _of_protocol(name: str) -> Callable[[_Reader], None]:
    def read(reader: _Reader) -> None:
        if reader.loaded:
            raise Unknown(f"{reader.loaded} and {name}")
        reader.loaded = name
        reader.place = len(reader.parts)
        reader.parts.append(extensions.any_port(name))

    return read


def _destination_port(reader: _Reader) -> None:
    if reader.protocol not in PROTOCOLS:
        raise Unknown("a port without a protocol")
    if not reader.loaded:  # iptables loads the match when it meets its first option
        _MATCHES_BY_NAME[reader.protocol](reader)
    reader.parts[reader.place] = extensions.destination_port(
        reader.protocol, reader.value(), reader.equal
    )


def _statistic(reader: _Reader) -> None:
    probability = reader.needs("--mode", "random", "--probability")
    reader.parts.append(extensions.statistic(probability))


def _recent(reader: _Reader) -> None:
    name = reader.needs("--name")
    if reader.takes("--set"):
        reader.parts.append(extensions.remembered(name))
        return
    seconds = int(reader.needs("--rcheck", "--seconds"))
    reader.parts.append(extensions.recent(name, seconds, reap=reader.takes("--reap")))


def _mark(reader: _Reader) -> None:
    equal = not reader.takes("!")
    reader.parts.append(extensions.mark(reader.needs("--mark"), equal))


def _conntrack(reader: _Reader) -> None:
    equal = not reader.takes("!")
    reader.parts.append(extensions.connection_state(reader.needs("--ctstate"), equal))


def _address_type(reader: _Reader) -> None:
    equal = not reader.takes("!")
    source = reader.takes("--src-type")
    if (reader.value() if source else reader.needs("--dst-type")) != "LOCAL":
        raise Unknown("another address type than LOCAL")
    reader.parts.append(extensions.address_type(source=source, equal=equal))


def _packet_counter(reader: _Reader) -> None:
    reader.parts.append(extensions.packet_counter(reader.needs("--nfacct-name")))


def _target(reader: _Reader) -> None:
    name = reader.value()
    read = _TARGETS.get(name)
    reader.target = read(reader) if read else extensions.verdict_or_jump(name)


def _physical_device(reader: _Reader) -> None:
    if not reader.takes("!", "--physdev-is-in"):
        raise Unknown("anything of physdev but ! --physdev-is-in")
    reader.parts.append(extensions.from_no_bridge_port())


def _set(reader: _Reader) -> None:
    equal = not reader.takes("!")
    index = int(reader.needs("--match-set"))
    reader.parts.append(extensions.set_match(index, reader.value(), equal))


def _unknown(reader: _Reader) -> bytes:
    raise Unknown(f"the target {reader.words[-1]}")


def _set_mark(reader: _Reader) -> bytes:
    return extensions.set_mark(reader.value(), reader.value())


def _masquerade(reader: _Reader) -> bytes:
    return extensions.masquerade(reader.family, random_fully=reader.takes("--random-fully"))


def _translate(reader: _Reader) -> bytes:
    return extensions.translate_destination(reader.family, reader.needs("--to-destination"))


def _reject(reader: _Reader) -> bytes:
    return extensions.reject(reader.family)


@cache
def _protocol_attribute(protocol: str) -> bytes:
    number = PROTOCOLS[protocol] if protocol else 0
    body = attribute(1, struct.pack(">L", number)) + attribute(2, bytes(4))
    return attribute(5 | NESTED, body)


_OPTIONS: dict[str, Callable[[_Reader], None]] = {
    "-i": _interface(_INPUT, Meta.IIFNAME),
    "-o": _interface(_OUTPUT, Meta.OIFNAME),
    "-p": _protocol,
    "-s": _source,
    "-d": _destination,
    "-m": _match,
    "-j": _target,
    "--dport": _destination_port,
}
_MATCHES_BY_NAME: dict[str, Callable[[_Reader], None]] = {
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
}
_INVERTIBLE = frozenset(("-i", "-o", "-s", "-d", "--dport"))
# Targets of rules that kproxy does not write; all other names are those of chains.
OTHER_TARGETS = (
    *("AUDIT", "CHECKSUM", "CLASSIFY", "CLUSTERIP", "CONNMARK", "CONNSECMARK", "CT"),
    *("DNPT", "DSCP", "ECN", "HL", "HMARK", "IDLETIMER", "LED"),
    *("LOG", "NETMAP", "NFLOG", "NFQUEUE", "NOTRACK", "QUEUE", "RATEEST"),
    *("REDIRECT", "SECMARK", "SET", "SNAT", "SNPT", "SYNPROXY", "TCPMSS"),
    *("TCPOPTSTRIP", "TEE", "TOS", "TPROXY", "TRACE", "TTL", "ULOG"),
)
_TARGETS: dict[str, Callable[[_Reader], bytes]] = {
    **dict.fromkeys(OTHER_TARGETS, _unknown),
    "MARK": _set_mark,
    "MASQUERADE": _masquerade,
    "DNAT": _translate,
    "REJECT": _reject,
}
