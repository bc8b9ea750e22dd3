"""Virtual servers and real servers of the calling thread's namespace, over generic netlink.

The forwarding method is always masquerade (`ipvsadm -m`), without thresholds. Commands and
attributes are those of pyroute2's IPVS module, the source is linux/ip_vs.h.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple, Self

from kproxy.address import Family, family_of, host_port, socket_family
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.modules import modprobe
from kproxy.kernel.netlink import NETLINK_GENERIC, Netlink, Request, attribute, attributes

_GENL_ID_CTRL, _CTRL_CMD_GETFAMILY = 16, 3
_CTRL_ATTR_FAMILY_ID, _CTRL_ATTR_FAMILY_NAME = 1, 2

_NEW_SERVICE, _SET_SERVICE, _DEL_SERVICE, _GET_SERVICE = 1, 2, 3, 4
_NEW_DEST, _SET_DEST, _DEL_DEST, _GET_DEST = 5, 6, 7, 8
_SET_CONFIG, _GET_CONFIG = 12, 13
_SERVICE, _DEST, _TIMEOUT_TCP, _TIMEOUT_TCP_FIN, _TIMEOUT_UDP = 1, 2, 4, 5, 6
_S_AF, _S_PROTOCOL, _S_ADDR, _S_PORT = 1, 2, 3, 4
_S_SCHED_NAME, _S_FLAGS, _S_TIMEOUT, _S_NETMASK, _S_PE_NAME = 6, 7, 8, 9, 11
_D_ADDR, _D_PORT, _D_FWD_METHOD, _D_WEIGHT, _D_U_THRESH, _D_L_THRESH = 1, 2, 3, 4, 5, 6
_D_ACTIVE_CONNS, _D_INACT_CONNS, _D_ADDR_FAMILY = 7, 8, 11
_LOAD = (_D_FWD_METHOD, _D_WEIGHT, _D_U_THRESH, _D_L_THRESH, _D_ACTIVE_CONNS, _D_INACT_CONNS)
_STATS64, _IN_PACKETS = 12, 2  # of both kinds of servers
_HASHED = 0x2  # IP_VS_SVC_F_HASHED, the kernel's own
_MASQUERADE = 0  # IP_VS_CONN_F_MASQ
_NO_NETMASK = {False: 0xFFFFFFFF, True: 128}  # whether for IPv6

_PROTOCOLS = {"TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP, "SCTP": socket.IPPROTO_SCTP}
_NAMES = {number: name for name, number in _PROTOCOLS.items()}
_U16, _U32, _BE16 = struct.Struct("=H"), struct.Struct("=L"), struct.Struct(">H")


def has_ipvs() -> bool:
    """Tell whether the running kernel has IPVS, after loading the module if possible."""
    with contextlib.suppress(Unsupported), Ipvs():
        return True
    modprobe("ip_vs")
    with contextlib.suppress(Unsupported), Ipvs():
        return True
    return False


class VirtualServer(NamedTuple):
    """The key of a virtual server."""

    protocol: str  # TCP, UDP, SCTP
    address: str  # canonical
    port: int

    def __str__(self) -> str:
        return f"{host_port(self.address, self.port)}/{self.protocol}"


class Settings(NamedTuple):
    """The settings of a virtual server."""

    scheduler: str
    flags: int
    """IP_VS_SVC_F_* without the kernel's own."""
    timeout_s: int
    """The timeout of persistence."""
    usual: bool = True
    """Without a netmask of persistence, and without a persistence engine."""


class RealServer(NamedTuple):
    """The key of a real server within its virtual server."""

    address: str
    port: int

    def __str__(self) -> str:
        return host_port(self.address, self.port)


class Load(NamedTuple):
    """A real server's weight and its numbers of connections."""

    weight: int
    active: int
    inactive: int
    usual: bool = True
    """It masquerades, and has no thresholds."""
    packets: int = 0
    """Packets to it since it was added."""


class Batch:
    """Requests that `Ipvs.apply` sends together."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, bytes, tuple[object, ...]]] = []

    def add(self, server: VirtualServer, settings: Settings) -> None:
        self._put(_NEW_SERVICE, _service(server, settings), "add virtual server", server)

    def edit(self, server: VirtualServer, settings: Settings) -> None:
        self._put(_SET_SERVICE, _service(server, settings), "change virtual server", server)

    def delete(self, server: VirtualServer) -> None:
        self._put(_DEL_SERVICE, _service(server), "delete virtual server", server)

    def add_real(self, server: VirtualServer, real: RealServer, weight: int) -> None:
        body = _service(server) + _dest(real, weight)
        self._put(_NEW_DEST, body, "add real server", real, "to", server)

    def edit_real(self, server: VirtualServer, real: RealServer, weight: int) -> None:
        body = _service(server) + _dest(real, weight)
        self._put(_SET_DEST, body, "change real server", real, "of", server)

    def delete_real(self, server: VirtualServer, real: RealServer) -> None:
        body = _service(server) + _dest(real)
        self._put(_DEL_DEST, body, "delete real server", real, "of", server)

    def __len__(self) -> int:
        return len(self.requests)

    def _put(self, command: int, body: bytes, *what: object) -> None:
        self.requests.append((command, body, what))


class Ipvs:
    """A netlink socket to IPVS in the namespace of the thread that opened it. A context manager.

    Methods raise KernelRefused, and Unsupported without the privilege.
    """

    def __init__(self) -> None:
        """Open the socket. Raises Unsupported if this kernel has no IPVS."""
        self._netlink = Netlink(NETLINK_GENERIC)
        try:
            self._family = self._resolve()
        except BaseException:
            self._netlink.close()
            raise

    def virtual_servers(self, family: Family) -> dict[VirtualServer, Settings]:
        found = {}
        for body in self._dump(_GET_SERVICE, b"", "list virtual servers"):
            for kind, payload in attributes(body[4:]):
                if kind == _SERVICE and (parsed := parse_service(payload, family)):
                    found[parsed[0]] = parsed[1]
        return found

    def packets(self, family: Family) -> dict[VirtualServer, int]:
        """Return how many packets each virtual server has taken since it was added."""
        found = {}
        for body in self._dump(_GET_SERVICE, b"", "list virtual servers"):
            for kind, payload in attributes(body[4:]):
                if kind == _SERVICE and (parsed := parse_service(payload, family)):
                    found[parsed[0]] = _incoming(dict(attributes(payload)))
        return found

    def count(self, family: Family) -> int:
        """Return the number of virtual servers, in a tenth of the time it takes to read them."""
        wanted = _U16.pack(family.socket_family)
        # The family is the first attribute inside the attribute of the virtual server.
        return sum(
            body[12:14] == wanted for body in self._dump(_GET_SERVICE, b"", "count virtual servers")
        )

    def real_servers(self, server: VirtualServer) -> dict[RealServer, Load]:
        found = {}
        for body in self._dump(_GET_DEST, _service(server), "list real servers of", server):
            for kind, payload in attributes(body[4:]):
                if kind == _DEST:
                    real, load = parse_dest(payload)
                    found[real] = load
        return found

    def apply(self, batch: Batch) -> None:
        """Send all requests. Each is carried out whether or not others fail."""
        self._netlink.send(
            Request(self._family, _genl(command) + body, what)
            for command, body, what in batch.requests
        )

    def timeouts(self) -> tuple[int, int, int]:
        """Return the idle timeouts in seconds: TCP, TCP after a FIN, UDP."""
        request = Request(self._family, _genl(_GET_CONFIG), ("read the timeouts",))
        answer = self._netlink.ask(request)
        found = {kind: _U32.unpack(payload)[0] for kind, payload in attributes(answer[4:])}
        return found[_TIMEOUT_TCP], found[_TIMEOUT_TCP_FIN], found[_TIMEOUT_UDP]

    def set_timeouts(self, tcp_s: int, tcp_fin_s: int, udp_s: int) -> None:
        """Set the idle timeouts. 0 leaves one as it is."""
        body = b"".join(
            attribute(kind, _U32.pack(value))
            for kind, value in (
                (_TIMEOUT_TCP, tcp_s),
                (_TIMEOUT_TCP_FIN, tcp_fin_s),
                (_TIMEOUT_UDP, udp_s),
            )
        )
        what = ("set the timeouts to", tcp_s, tcp_fin_s, udp_s)
        self._netlink.send([Request(self._family, _genl(_SET_CONFIG) + body, what)])

    def close(self) -> None:
        self._netlink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _dump(self, command: int, body: bytes, *what: object) -> list[memoryview]:
        return self._netlink.dump(Request(self._family, _genl(command) + body, what))

    def _resolve(self) -> int:
        """Return the number that the kernel has given to the generic netlink family IPVS."""
        body = _genl(_CTRL_CMD_GETFAMILY) + attribute(_CTRL_ATTR_FAMILY_NAME, b"IPVS\0")
        try:
            answer = self._netlink.ask(Request(_GENL_ID_CTRL, body, ("find IPVS",)))
        except KernelRefused:
            raise Unsupported(
                "this kernel has no IPVS",
                remedy="modprobe ip_vs; if there is no such module, run the command on user-mode"
                " Linux: python -m kproxy.kernel.uml COMMAND...",
            ) from None
        for kind, payload in attributes(answer[4:]):
            if kind == _CTRL_ATTR_FAMILY_ID:
                number: int = _U16.unpack(payload)[0]
                return number
        raise Unsupported("the kernel gave no number for the generic netlink family IPVS")


def _genl(command: int) -> bytes:
    return struct.pack("=BBH", command, 1, 0)


@lru_cache(maxsize=1 << 14)
def _address(text: str) -> bytes:
    """Pack a union nf_inet_addr: 16 bytes in both families."""
    family = family_of(text)
    if family is Family.IPV6:
        return socket.inet_pton(family.socket_family, text)
    return socket.inet_aton(text) + bytes(12)


def _service(server: VirtualServer, settings: Settings | None = None) -> bytes:
    """Pack the attribute of a virtual server: its key, and its settings if given."""
    inner = _service_key(server)
    if settings:
        wide = family_of(server.address) is Family.IPV6
        inner += (
            attribute(_S_SCHED_NAME, settings.scheduler.encode() + b"\0")
            + attribute(_S_FLAGS, struct.pack("=LL", settings.flags, 0xFFFFFFFF))
            + attribute(_S_TIMEOUT, _U32.pack(settings.timeout_s))
            + attribute(_S_NETMASK, _U32.pack(_NO_NETMASK[wide]))
        )
    return attribute(_SERVICE, inner)


_SERVICE_KEY = struct.Struct("=HHHxxHHHxxHH16sHH2sxx")


def _service_key(server: VirtualServer) -> bytes:
    return _SERVICE_KEY.pack(
        *(6, _S_AF, socket_family(server.address)),
        *(6, _S_PROTOCOL, _PROTOCOLS[server.protocol]),
        *(20, _S_ADDR, _address(server.address)),
        *(6, _S_PORT, _BE16.pack(server.port)),
    )


_DEST_KEY = struct.Struct("=HHHHHxxHH16sHH2sxx")
_DEST_REST = struct.Struct("=HHLHHLHHLHHL")


def _dest(real: RealServer, weight: int | None = None) -> bytes:
    """Pack the attribute of a real server. Without a weight: only its key."""
    length = _DEST_KEY.size + (_DEST_REST.size if weight is not None else 0)
    key = _DEST_KEY.pack(
        *(length, _DEST),
        *(6, _D_ADDR_FAMILY, socket_family(real.address)),
        *(20, _D_ADDR, _address(real.address)),
        *(6, _D_PORT, _BE16.pack(real.port)),
    )
    if weight is None:
        return key
    return key + _DEST_REST.pack(
        *(8, _D_FWD_METHOD, _MASQUERADE),
        *(8, _D_WEIGHT, weight),
        *(8, _D_U_THRESH, 0),
        *(8, _D_L_THRESH, 0),
    )


def parse_service(data: memoryview, family: Family) -> tuple[VirtualServer, Settings] | None:
    """Parse a virtual server. None if it is of the other family, matches by firewall mark, or is of
    another protocol (the kernel takes any).
    """
    found = dict(attributes(data))
    if _U16.unpack(found[_S_AF])[0] != family.socket_family or _S_PORT not in found:
        return None
    protocol = _NAMES.get(_U16.unpack(found[_S_PROTOCOL])[0])
    if protocol is None:
        return None
    server = VirtualServer(
        protocol,
        _text(found[_S_ADDR], family is Family.IPV6),
        _BE16.unpack(found[_S_PORT])[0],
    )
    settings = Settings(
        bytes(found[_S_SCHED_NAME]).rstrip(b"\0").decode(),
        _U32.unpack_from(found[_S_FLAGS])[0] & ~_HASHED,
        _U32.unpack(found[_S_TIMEOUT])[0],
        usual=_S_PE_NAME not in found
        and _U32.unpack(found[_S_NETMASK])[0] == _NO_NETMASK[family is Family.IPV6],
    )
    return server, settings


def parse_dest(data: memoryview) -> tuple[RealServer, Load]:
    found = dict(attributes(data))
    wide = _U16.unpack(found[_D_ADDR_FAMILY])[0] == Family.IPV6.socket_family
    real = RealServer(_text(found[_D_ADDR], wide), _BE16.unpack(found[_D_PORT])[0])
    numbers = {kind: _U32.unpack(found[kind])[0] for kind in _LOAD}
    load = Load(
        numbers[_D_WEIGHT],
        numbers[_D_ACTIVE_CONNS],
        numbers[_D_INACT_CONNS],
        usual=(numbers[_D_FWD_METHOD], numbers[_D_U_THRESH], numbers[_D_L_THRESH])
        == (_MASQUERADE, 0, 0),
        packets=_incoming(found),
    )
    return real, load


def _incoming(found: Mapping[int, memoryview]) -> int:
    """Return the packets to a virtual or real server; 0 from a kernel before 4.1."""
    for kind, payload in attributes(found.get(_STATS64, memoryview(b""))):
        if kind == _IN_PACKETS:
            return int.from_bytes(payload, sys.byteorder)
    return 0


def _text(address: memoryview, wide: bool) -> str:
    if wide:
        return str(IPv6Address(bytes(address[:16])))
    return socket.inet_ntoa(address[:4])
