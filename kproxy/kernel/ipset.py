"""The ipsets of the calling thread's namespace, over netlink: no process is started.

Entries are text as in `ipset_attributes`.
Source: linux/netfilter/ipset/ip_set.h
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import NamedTuple

from kproxy.address import Family
from kproxy.errors import KernelRefused
from kproxy.kernel import ipset_attributes
from kproxy.kernel.ipset_attributes import NESTED, NET_BYTE_ORDER, Shape
from kproxy.kernel.lacking import lacking
from kproxy.kernel.netlink import NETLINK_NETFILTER, Netlink, Request, attribute, attributes

_SUBSYSTEM = 6 << 8  # NFNL_SUBSYS_IPSET
_CREATE, _DESTROY, _FLUSH, _SWAP, _LIST, _ADD, _DEL = 2, 3, 4, 6, 7, 9, 10
_TYPE, _GET_BYNAME = 13, 14
_PROTOCOL = struct.pack("=B", 6)  # understood since Linux 2.6.39
_NEWER = struct.pack("=B", 7)  # since Linux 4.20
_A_PROTOCOL, _A_SETNAME, _A_TYPENAME, _A_REVISION, _A_FAMILY, _A_FLAGS = 1, 2, 3, 4, 5, 6
_A_DATA, _A_ENTRIES, _A_INDEX = 7, 8, 11
_A_OTHER_NAME = _A_TYPENAME
_LIST_HEADER = 4  # IPSET_FLAG_LIST_HEADER
# `ipset list` fails at a set whose revision is newer than the program. These are what version 7.17
# knows, that of Debian 12; later ones have nothing that we use.
_REVISIONS = {
    "hash:ip": 6,
    "hash:ip,port": 7,
    "hash:ip,port,ip": 6,
    "hash:ip,port,net": 8,
    "bitmap:port": 3,
}
_ERRORS = {  # IPSET_ERR_*
    4097: "the set has entries of another kind",
    4098: "this kernel has no such type",
    4099: "there are as many sets as there can be",
    4100: "it is in use",
    4102: "the sets are of different types",
    4104: "the length of the network is not valid here",
    4352: "the set is full, or the port beyond its range",
}
_BE32 = struct.Struct(">L")
_GONE = frozenset([errno.ENOENT])


class SavedSet(NamedTuple):
    """One set of the kernel."""

    shape: Shape
    entries: frozenset[str]
    """Without options. Empty for types that no service proxy has."""


def require(types: Iterable[str], family: Family) -> None:
    """Raise Unsupported, saying what is missing, unless sets of these types can be created here.

    The kernel loads its modules for them if it can.
    """
    with connect() as netlink:
        try:
            for kind in types:
                _revision(netlink, kind, family)
        except KernelRefused:
            raise lacking("ipsets", family) from None


def create(sets: Iterable[tuple[str, Shape]]) -> None:
    """Create sets, each given as its name and shape, without entries.

    A set that exists with another type or other parameters is an error, but one of the other family
    passes, and so does another hashsize. Raises KernelRefused; sets behind a bad one are created,
    except where the kernel has no such type: then none is.
    """
    with connect() as netlink:
        revisions: dict[tuple[str, Family | None], int] = {}
        requests = []
        for name, shape in sets:
            key = (shape.type, shape.family)
            if key not in revisions:
                revisions[key] = _revision(netlink, *key)
            body = _head(name) + _type(*key) + attribute(_A_REVISION, bytes([revisions[key]]))
            body += attribute(_A_DATA | NESTED, ipset_attributes.creation(shape))
            requests.append(Request(_SUBSYSTEM | _CREATE, body, ("create ipset", name)))
        netlink.send(requests)


def destroy(names: Iterable[str]) -> dict[str, str]:
    """Destroy each of these sets, whether or not others fail, and return the reasons of failures.

    Those that do not exist are no failures.
    """
    failures = {}
    with connect() as netlink:
        for name in names:
            request = Request(_SUBSYSTEM | _DESTROY, _head(name), ("destroy ipset", name), 0, _GONE)
            try:
                netlink.send([request])
            except KernelRefused as error:
                failures[name] = str(error)
    return failures


def flush(names: Iterable[str]) -> None:
    """Remove all entries of these sets, as far as they exist. Raises KernelRefused."""
    with connect() as netlink:
        netlink.send(
            Request(_SUBSYSTEM | _FLUSH, _head(name), ("flush ipset", name), 0, _GONE)
            for name in names
        )


def swap(name: str, other: str) -> None:
    """Exchange the names of two sets of one type, also in rules: these match the other set then.

    Raises KernelRefused if their types or families differ.
    """
    body = _head(name) + attribute(_A_OTHER_NAME, other.encode() + b"\0")
    with connect() as netlink:
        netlink.send([Request(_SUBSYSTEM | _SWAP, body, ("swap ipsets", name, other))])


def index(name: str) -> int:
    """Return the number by which rules refer to a set. Raises KernelRefused if there is none."""
    request = Request(_SUBSYSTEM | _GET_BYNAME, _head(name, _NEWER), ("find ipset", name))
    with Netlink(NETLINK_NETFILTER) as netlink:
        fields = dict(attributes(netlink.ask(request)[4:]))
    return int.from_bytes(fields[_A_INDEX], "big")


def save() -> dict[str, SavedSet]:
    """Return all sets with all of their entries."""
    shapes: dict[str, Shape] = {}
    entries: dict[str, list[str]] = {}
    for fields in _listed():
        name = _text(fields[_A_SETNAME])
        if _A_TYPENAME in fields:  # the first message of the set; more follow if it is large
            shapes[name] = ipset_attributes.read_shape(
                _text(fields[_A_TYPENAME]), fields[_A_FAMILY][0], fields[_A_DATA]
            )
            entries[name] = []
        if _A_ENTRIES in fields:
            entries[name] += ipset_attributes.read_entries(shapes[name].type, fields[_A_ENTRIES])
    return {name: SavedSet(shape, frozenset(entries[name])) for name, shape in shapes.items()}


def sizes() -> dict[str, int]:
    """Return the number of entries of each set, without reading them."""
    return {
        _text(fields[_A_SETNAME]): ipset_attributes.count(fields[_A_DATA])
        for fields in _listed(_LIST_HEADER)
    }


def connect() -> Netlink:
    """Open a socket that more than one `edit` can use."""
    return Netlink(NETLINK_NETFILTER, _ERRORS)


def edit(
    add: Iterable[tuple[str, str]],
    delete: Iterable[tuple[str, str]],
    netlink: Netlink | None = None,
) -> None:
    """Add and delete entries, each given as the name of its set and its text.

    `netlink` is what `connect` has returned; without it, a socket is opened and closed.
    Adding one that exists or deleting one that does not is no error. Raises KernelRefused.
    """
    requests = [*_requests(_ADD, "add", add), *_requests(_DEL, "delete", delete)]
    if requests:
        with nullcontext(netlink) if netlink else connect() as used:
            used.send(requests)


def _requests(command: int, verb: str, entries: Iterable[tuple[str, str]]) -> Iterator[Request]:
    for name, text in entries:
        body = _head(name) + attribute(_A_DATA | NESTED, ipset_attributes.entry(text))
        yield Request(_SUBSYSTEM | command, body, ("ipset", verb, name, text))


def _listed(flags: int = 0) -> Iterator[dict[int, memoryview]]:
    """Yield the attributes of each message about the sets."""
    body = _head() + attribute(_A_FLAGS | NET_BYTE_ORDER, _BE32.pack(flags))
    with Netlink(NETLINK_NETFILTER) as netlink:
        for answer in netlink.dump(Request(_SUBSYSTEM | _LIST, body, ("list the ipsets",))):
            yield dict(attributes(answer[4:]))


def _revision(netlink: Netlink, kind: str, family: Family | None) -> int:
    """Return the revision of a type to create sets of. Raises KernelRefused if there is no such."""
    request = Request(_SUBSYSTEM | _TYPE, _head() + _type(kind, family), ("find ipset type", kind))
    (newest,) = dict(attributes(netlink.ask(request)[4:]))[_A_REVISION]
    return min(newest, _REVISIONS.get(kind, newest))


def _type(kind: str, family: Family | None) -> bytes:
    number = family.socket_family if family else socket.AF_UNSPEC
    return attribute(_A_TYPENAME, kind.encode() + b"\0") + attribute(_A_FAMILY, bytes([number]))


def _head(name: str = "", protocol: bytes = _PROTOCOL) -> bytes:
    """Return nfgenmsg, the version of the protocol, and the name of the set if given."""
    head = struct.pack("=BBH", socket.AF_INET, 0, 0) + attribute(_A_PROTOCOL, protocol)
    return head + attribute(_A_SETNAME, name.encode() + b"\0") if name else head


def _text(field: memoryview) -> str:
    return bytes(field).rstrip(b"\0").decode()
