"""A rule as the program nft prints it, read back from its expressions. Pure.

The reader follows the expressions as the kernel does, but with words in the registers in place of
values: a load puts the name of what it loads there, a comparison or lookup uses the names, and an
action ends the statement. Only what kproxy's rules consist of is known. Source: nftables 1.0.6
src/netlink_delinearize.c; what it printed for each form on Linux 6.18.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from kproxy.address import Family, host_port
from kproxy.kernel.netlink import attributes
from kproxy.kernel.nftables.expressions import (
    COUNTER,
    MASQUERADE_FULLY_RANDOM,
    Ct,
    Header,
    Meta,
)
from kproxy.kernel.nftables.objects import AnonymousSet, Rule, Set
from kproxy.kernel.nftables.types import DataType
from kproxy.kernel.nftables.values import (
    PROTOCOLS,
    Attributes,
    address_text,
    elements_text,
    inner,
    text_of,
    verdict_text,
)

_WORDS = {Family.IPV4: "ip", Family.IPV6: "ip6"}
_FAMILIES = {2: Family.IPV4, 10: Family.IPV6}  # NFPROTO_
_FIELDS = {
    Family.IPV4: {12: "ip saddr", 16: "ip daddr"},
    Family.IPV6: {8: "ip6 saddr", 24: "ip6 daddr"},
}
_ADDRESS_BYTES = {Family.IPV4: 4, Family.IPV6: 16}
_DPORT = (2, 2)  # offset and length
_METAS = {
    Meta.MARK: "meta mark",
    Meta.IIFNAME: "iifname",
    Meta.L4PROTO: "meta l4proto",
}
_IFNAMSIZ = 16
_ELEMENTS = "\0"  # stands for those of a set that is part of a rule
_FLAGS = {"ct state": {0x8: "new"}, "ct status": {0x20: "dnat"}}
_CTS = {Ct.STATE: "ct state", Ct.STATUS: "ct status"}
_FIBS = {1: "fib saddr type", 2: "fib daddr type"}  # NFTA_FIB_F_SADDR, _DADDR
_FIB_TYPE, _LOCAL = 3, 2  # NFT_FIB_RESULT_ADDRTYPE, RTN_LOCAL
_EQUAL, _NOT_EQUAL = 0, 1
_DNAT, _UPDATE, _RANDOM = 1, 1, 1  # NFT_NAT_DNAT, NFT_DYNSET_OP_UPDATE, NFT_NG_RANDOM
_PORT_UNREACHABLE = {(0, 3), (0, 4)}  # type and code: ICMP, ICMPv6


class _Words(NamedTuple):
    """The name of what is in a register."""

    text: str
    length: int = 0  # bytes of the packet that were loaded
    constant: bytes = b""  # in place of a name
    mask: bytes = b""  # of what is & and then ^, see `expressions.masked`
    toggled: bytes = b""


def rule_text(family: Family, rule: Rule, sets: Mapping[str, Set]) -> str:
    """Return a rule of a table of `family` as `nft --stateless list` prints it.

    `sets`: the table's sets and maps by name. Raises ValueError, naming the expression, if one is
    of no kind that kproxy writes.
    """
    return RuleTexts(family, sets).of(rule)


class RuleTexts:
    """The texts of many rules, of which most differ only in the elements of a set of their own:
    what is around these is read once.
    """

    def __init__(self, family: Family, sets: Mapping[str, Set]) -> None:
        self._family = family
        self._sets = sets
        self._around: dict[tuple[bytes | tuple[object, ...], ...], tuple[str, ...]] = {}

    def of(self, rule: Rule) -> str:
        """Return what `rule_text` does."""
        own = [part for part in rule.expressions if isinstance(part, AnonymousSet)]
        if not own:
            return _commented(self._read(rule.expressions), rule.comment)
        key = tuple(
            part if isinstance(part, bytes) else part[1:]  # without elements
            for part in rule.expressions
        )
        if key not in self._around:
            bare = [
                part if isinstance(part, bytes) else part._replace(elements=())
                for part in rule.expressions
            ]
            self._around[key] = tuple(self._read(bare).split(_ELEMENTS))
        around = self._around[key]
        text = around[0]
        for set_, rest in zip(own, around[1:], strict=True):
            elements = elements_text(set_.key, set_.value, set_.elements, ranges=set_.ranges)
            text += f"{{ {', '.join(elements)} }}{rest}"
        return _commented(text, rule.comment)

    def _read(self, expressions: Iterable[bytes | AnonymousSet]) -> str:
        reader = _Reader(self._family, self._sets)
        for part in expressions:
            if isinstance(part, AnonymousSet):
                reader.look_up(part)
            else:
                reader.read(part)
        return " ".join(reader.statements)


def _commented(text: str, comment: str) -> str:
    return f'{text} comment "{comment}"' if comment else text


class _Reader:
    """`statements` are those so far. Registers are counted as in `expressions.register`."""

    def __init__(self, family: Family, sets: Mapping[str, Set]) -> None:
        self.statements: list[str] = []
        self._family = family
        self._sets = sets
        self._registers: dict[int, _Words] = {}
        self._protocol = ""  # that a statement has matched

    def read(self, expressions: bytes) -> None:
        for _, expression in attributes(memoryview(expressions)):
            found = inner(expression)
            name, fields = text_of(found[1]), inner(found[2])
            try:
                _READERS[name](self, fields)
            except (KeyError, ValueError):
                shown = {number: bytes(value).hex() for number, value in fields.items()}
                raise ValueError(f"no nft syntax is known for: {name} {shown}") from None

    def look_up(self, set_: AnonymousSet) -> None:
        self._look_up(_ELEMENTS, set_, 0, set_.target, inverted=set_.inverted)

    def payload(self, fields: Attributes) -> None:
        target, base, offset, length = (_number(fields[kind]) for kind in (1, 2, 3, 4))
        if base == Header.TRANSPORT:
            _need((offset, length) == _DPORT)
            if self._protocol:  # the word for the port says it again, so nft leaves the match out
                self.statements.remove(f"meta l4proto {self._protocol}")
            self._load(target, f"{self._protocol or 'th'} dport", length)
            self._protocol = ""
        else:
            _need(base == Header.NETWORK and length <= _ADDRESS_BYTES[self._family])
            self._load(target, _FIELDS[self._family][offset], length)

    def meta(self, fields: Attributes) -> None:
        key = _number(fields[2])
        if 3 not in fields:
            self._load(_number(fields[1]), _METAS[Meta(key)])
            return
        _need(key == Meta.MARK)
        source = self._taken(_number(fields[3]))
        _need(source.text == "meta mark" and bool(source.mask))
        parts = (source.mask, source.toggled)
        kept, toggled = (int.from_bytes(part, sys.byteorder) for part in parts)
        if kept == 0xFFFFFFFF:
            self.statements.append(f"meta mark set meta mark ^ 0x{toggled:08x}")
        else:  # (mark & ~bit) ^ bit
            _need(kept == 0xFFFFFFFF ^ toggled)
            self.statements.append(f"meta mark set meta mark | 0x{toggled:08x}")

    def ct(self, fields: Attributes) -> None:
        self._load(_number(fields[1]), _CTS[Ct(_number(fields[2]))])

    def fib(self, fields: Attributes) -> None:
        _need(_number(fields[2]) == _FIB_TYPE)
        self._load(_number(fields[1]), _FIBS[_number(fields[3])])

    def numgen(self, fields: Attributes) -> None:
        _need(_number(fields[3]) == _RANDOM and not _number(fields[4]))
        self._load(_number(fields[1]), f"numgen random mod {_number(fields[2])}")

    def bitwise(self, fields: Attributes) -> None:
        source, target = (_number(fields[kind]) for kind in (1, 2))
        words = self._taken(source)
        _need(not _number(fields[6]) and not words.mask)
        mask, toggled = (_constant(fields[kind]) for kind in (4, 5))
        self._registers[_index(target)] = words._replace(mask=mask, toggled=toggled)

    def cmp(self, fields: Attributes) -> None:
        source = self._taken(_number(fields[1]))
        operator, value = _number(fields[2]), _constant(fields[3])
        _need(operator in (_EQUAL, _NOT_EQUAL) and source.length in (0, len(value)))
        equal = operator == _EQUAL
        if source.mask:
            self.statements.append(self._masked(source, value, equal))
            return
        unless = "" if equal else "!= "
        self.statements.append(f"{source.text} {unless}{self._value(source, value)}")
        if source.text == "meta l4proto" and equal:
            self._protocol = PROTOCOLS[value[0]]

    def lookup(self, fields: Attributes) -> None:
        name = text_of(fields[1])
        target = _number(fields[3]) if 3 in fields else None
        inverted = bool(_number(fields[5])) if 5 in fields else False
        source = _index(_number(fields[2]))
        self._look_up(f"@{name}", self._sets[name], source, target, inverted=inverted)

    def dynset(self, fields: Attributes) -> None:
        name = text_of(fields[1])
        _need(_number(fields[3]) == _UPDATE)
        key = self._key(_index(_number(fields[4])), self._sets[name].key)
        self.statements.append(f"update @{name} {{ {key} }}")

    def immediate(self, fields: Attributes) -> None:
        target, data = _number(fields[1]), inner(fields[2])
        if target:
            self._registers[_index(target)] = _Words("", constant=bytes(data[1]))
        else:
            self.statements.append(verdict_text(inner(data[2])))

    def nat(self, fields: Attributes) -> None:
        _need(_number(fields[1]) == _DNAT)
        family = _FAMILIES[_number(fields[2])]
        address, port = (self._taken(_number(fields[kind])) for kind in (3, 5))
        if address.constant:
            number = int.from_bytes(port.constant, "big")
            self.statements.append(f"dnat to {host_port(address_text(address.constant), number)}")
        else:
            _need(port == address)  # both are of one value of a map
            self.statements.append(f"dnat {_WORDS[family]} to {address.text}")

    def masq(self, fields: Attributes) -> None:
        _need(_number(fields[1]) == MASQUERADE_FULLY_RANDOM)
        self.statements.append("masquerade fully-random")

    def objref(self, fields: Attributes) -> None:
        _need(_number(fields[1]) == COUNTER)
        self.statements.append(f'counter name "{text_of(fields[2])}"')

    def reject(self, fields: Attributes) -> None:
        _need((_number(fields[1]), _number(fields[2])) in _PORT_UNREACHABLE)
        self.statements.append("reject")

    def _look_up(
        self,
        text: str,
        set_: Set | AnonymousSet,
        source: int,
        target: int | None,
        *,
        inverted: bool,
    ) -> None:
        key = self._key(source, set_.key)
        if target is None:
            self.statements.append(f"{key} {'!= ' if inverted else ''}{text}")
        elif target == 0:
            self.statements.append(f"{key} vmap {text}")
        else:
            _need(set_.value is not None)
            found = _Words(f"{key} map {text}")
            for place, _ in _places(_index(target), set_.value or set_.key):
                self._registers[place] = found

    def _key(self, source: int, type_: DataType) -> str:
        """Return the names of what makes up a key, from the register `source` on."""
        names = []
        for place, length in _places(source, type_):
            words = self._registers.get(place)
            if not words or not words.text or words.mask or words.length not in (0, length):
                raise ValueError(f"no key of a set is in register {place}")
            names.append(words.text)
        return " . ".join(names)

    def _masked(self, source: _Words, value: bytes, equal: bool) -> str:
        _need(not any(source.toggled))
        is_address = source.text in _FIELDS[self._family].values()
        mask = int.from_bytes(source.mask, "big" if is_address else sys.byteorder)
        if source.text in _FLAGS:
            _need(not any(value) and not equal)
            return f"{source.text} {_FLAGS[source.text][mask]}"
        _need(is_address or source.text == "meta mark")
        shown = self._value(source, value)
        prefix = _prefix(mask, 8 * len(source.mask))
        if prefix is not None:  # nft takes any mask of this form for a prefix, that of a mark, too
            return f"{source.text} {'' if equal else '!= '}{shown}/{prefix}"
        return f"{source.text} & 0x{mask:08x} {'==' if equal else '!='} {shown}"

    def _value(self, source: _Words, value: bytes) -> str:
        """Return what something is compared with; of an address it may be the first bytes."""
        size = _ADDRESS_BYTES[self._family]
        if source.text in _FIELDS[self._family].values():
            text = address_text(value.ljust(size, b"\0"))
            return text if len(value) == size else f"{text}/{8 * len(value)}"
        if source.text == "iifname":
            return _interface(value)
        number = int.from_bytes(value, sys.byteorder)
        if source.text == "meta l4proto":
            return PROTOCOLS[number]
        if source.text == "meta mark":
            return f"0x{number:08x}"
        _need(source.text in _FIBS.values() and number == _LOCAL)
        return "local"

    def _load(self, target: int, text: str, length: int = 0) -> None:
        self._registers[_index(target)] = _Words(text, length)

    def _taken(self, number: int) -> _Words:
        return self._registers[_index(number)]


def _need(condition: bool) -> None:
    """Raise ValueError if the expression has something that kproxy never writes."""
    if not condition:
        raise ValueError


_READERS: dict[str, Callable[[_Reader, Attributes], None]] = {
    "payload": _Reader.payload,
    "meta": _Reader.meta,
    "ct": _Reader.ct,
    "fib": _Reader.fib,
    "numgen": _Reader.numgen,
    "bitwise": _Reader.bitwise,
    "cmp": _Reader.cmp,
    "lookup": _Reader.lookup,
    "dynset": _Reader.dynset,
    "immediate": _Reader.immediate,
    "nat": _Reader.nat,
    "masq": _Reader.masq,
    "objref": _Reader.objref,
    "reject": _Reader.reject,
}


def _index(number: int) -> int:
    """Return which register of four bytes has this number; see `expressions.register`."""
    return 4 * (number - 1) if number < 8 else number - 8


def _places(first: int, type_: DataType) -> Iterator[tuple[int, int]]:
    """Yield the register that each part of a value begins in, and its length."""
    for length in type_.lengths:
        yield first, length
        first += (length + 3) // 4


def _number(value: memoryview) -> int:
    return int.from_bytes(value, "big")


def _constant(data: memoryview) -> bytes:
    return bytes(inner(data)[1])


def _prefix(mask: int, bits: int) -> int | None:
    """Return the length of the prefix that a mask stands for, None if it is none."""
    rest = mask ^ ((1 << bits) - 1)
    return None if rest & (rest + 1) else bits - rest.bit_length()


def _interface(value: bytes) -> str:
    """Return the name of an interface or, if it is shorter than that, its beginning."""
    name = value.rstrip(b"\0").decode()
    if len(value) < _IFNAMSIZ:
        return f'"{name}*"'
    return f'"{name[:-1]}\\*"' if name.endswith("*") else f'"{name}"'
