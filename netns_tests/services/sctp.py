"""SCTP for kernels without sockets for it: chunks are sent by hand, through raw sockets."""

from __future__ import annotations

import random
import select
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from scapy.layers.sctp import SCTP, SCTPChunkInit, SCTPChunkInitAck

from kproxy.address import Family, family_of, socket_family
from kproxy.forwarding.network import Packet
from kproxy.testing import ProbedLab

_PATIENCE_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """`pod` got the first chunk on `port`, from `source`."""

    pod: str
    port: int
    source: str


def sctp_handshake(lab: ProbedLab, to: Packet, among: Sequence[str]) -> Met:
    """Send an INIT, let the pod of `among` that gets it answer, and receive the answer.

    Fails unless one pod gets it and the answer is from the address and port that were asked.
    """
    client_port, tag = random.randrange(20000, 30000), random.getrandbits(32)
    with ExitStack() as stack:

        def raw(host: str) -> socket.socket:
            with lab.hosts[host].namespace.entered():
                made = socket.socket(
                    socket_family(to.address), socket.SOCK_RAW, socket.IPPROTO_SCTP
                )
            return stack.enter_context(made)

        pods = {raw(name): name for name in among}
        client = raw(to.client)
        client.connect((to.address, 0))
        init = SCTPChunkInit(init_tag=tag, a_rwnd=65536, n_out_streams=1, n_in_streams=1)
        client.send(bytes(SCTP(sport=client_port, dport=to.port, tag=0) / init))
        (answering,), _, _ = select.select(list(pods), [], [], _PATIENCE_S)
        data, (source, *_) = answering.recvfrom(4096)
        got = _chunk(data, to)
        assert got[SCTPChunkInit].init_tag == tag
        accepted = SCTPChunkInitAck(init_tag=1, a_rwnd=65536, n_out_streams=1, n_in_streams=1)
        reply = SCTP(sport=got.dport, dport=got.sport, tag=tag) / accepted
        answering.sendto(bytes(reply), (source, 0))
        assert select.select([client], [], [], _PATIENCE_S)[0], "the answer is lost"
        home = _chunk(client.recv(4096), to)
        assert (home.sport, home.dport, home.tag) == (to.port, client_port, tag)
    return Met(pod=pods[answering], port=got.dport, source=source)


def _chunk(data: bytes, to: Packet) -> SCTP:
    """Return the chunk. Linux keeps the IP header for raw sockets of IPv4, not for IPv6."""
    return SCTP(data if family_of(to.address) is Family.IPV6 else data[(data[0] & 0xF) * 4 :])
