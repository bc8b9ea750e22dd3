"""Queries and responses as bytes. Pure.

Everything that may be a query gets an answer. A response gets none: two servers would answer each
other forever.
"""

from __future__ import annotations

import struct

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rdataclass
from dns.rcode import Rcode
from dns.rdatatype import RdataType

from kproxy.dns.records import Answer, Records

UDP_MAX_BYTES = 65507  # what an IPv4 datagram can carry
TCP_MAX_BYTES = 65535
_UDP_USUAL_BYTES = 512  # without EDNS: RFC 1035
_OUR_PAYLOAD_BYTES = 1232  # the largest query we say that we take, as most servers do
_HEADER = struct.Struct("!6H")
_TRANSFERS = (RdataType.AXFR, RdataType.IXFR)


def respond(records: Records, query: bytes, *, udp: bool) -> bytes | None:
    """Return the response to one datagram, or to one message over TCP; None if there is none.

    Over UDP it is no longer than the client says it can take: sets of records that do not fit are
    left out, and TC tells the client to ask again over TCP.
    """
    if len(query) < _HEADER.size:
        return None
    _, flags, questions, *_ = _HEADER.unpack_from(query)
    if flags & dns.flags.QR:
        return None
    if dns.opcode.from_flags(flags) != dns.opcode.QUERY:
        return _bare(query, Rcode.NOTIMP)
    if questions != 1:
        return _bare(query, Rcode.FORMERR)
    try:
        asked = dns.message.from_wire(query)
    except dns.exception.DNSException:
        return _bare(query, Rcode.FORMERR)
    # RA is set, as by CoreDNS: the upstream zone stands for recursion.
    response = dns.message.make_response(
        asked, recursion_available=True, our_payload=_OUR_PAYLOAD_BYTES
    )
    if asked.edns > 0:
        response.set_rcode(Rcode.BADVERS)
        return response.to_wire()
    question = asked.question[0]
    if question.rdclass != dns.rdataclass.IN or question.rdtype in _TRANSFERS:
        answer = Answer(rcode=Rcode.REFUSED, authoritative=False)
    else:
        answer = records.answer(question.name, question.rdtype)
    response.set_rcode(answer.rcode)
    if answer.authoritative:
        response.flags |= dns.flags.AA
    response.answer = [*answer.answer]
    response.authority = [*answer.authority]
    response.additional = [*answer.additional]
    limit = _udp_limit(asked) if udp else TCP_MAX_BYTES
    # The records of a set are sent in random order, as by CoreDNS's plugin `loadbalance`.
    return response.to_wire(max_size=limit, prefer_truncation=True)


def _udp_limit(asked: dns.message.Message) -> int:
    if asked.edns < 0:
        return _UDP_USUAL_BYTES
    return min(max(asked.payload, _UDP_USUAL_BYTES), UDP_MAX_BYTES)


def _bare(query: bytes, rcode: Rcode) -> bytes:
    """Return only a header, for a query that was not understood."""
    identity, flags, *_ = _HEADER.unpack_from(query)
    kept = flags & (0x7800 | dns.flags.RD)  # 0x7800: the opcode
    return _HEADER.pack(identity, dns.flags.QR | kept | rcode, 0, 0, 0, 0)
