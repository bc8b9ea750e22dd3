"""Which iptables writes what `rule` writes, and whether the running kernel has what it takes."""

from __future__ import annotations

import logging
import struct
from functools import cache

from kproxy.address import Family
from kproxy.errors import KernelRefused
from kproxy.kernel.iptables_nft.dialect import Dialect, dialect
from kproxy.kernel.iptables_nft.writer import Writer
from kproxy.kernel.netlink import Request, attribute
from kproxy.kernel.nftables.objects import NFPROTO
from kproxy.kernel.nftables.session import Session

log = logging.getLogger("kproxy")

_GET_EXTENSION = 11 << 8  # NFNL_SUBSYS_NFT_COMPAT, NFNL_MSG_COMPAT_GET
_MATCH, _TARGET = 0, 1
# Those that every kproxy writes: name, revision, kind. iptables asks for each in the same way.
_EXTENSIONS = (
    *(("comment", 0, _MATCH), ("conntrack", 3, _MATCH), ("addrtype", 1, _MATCH)),
    *(("statistic", 0, _MATCH), ("tcp", 0, _MATCH), ("udp", 0, _MATCH)),
    *(("MARK", 2, _TARGET), ("DNAT", 2, _TARGET), ("MASQUERADE", 0, _TARGET)),
    ("REJECT", 0, _TARGET),
)
_SLOW = "rules are written by the program"


def writer_for(family: Family, version: tuple[int, ...]) -> Writer | None:
    """Return a writer if it is known what iptables of this version would write, and the kernel
    has the extensions for it. The reason against it is logged once.
    """
    spoken = dialect(family, version)
    if spoken:
        return Writer(spoken) if _is_taken(spoken) else None
    _say_unknown(version)
    return None


@cache
def _say_unknown(version: tuple[int, ...]) -> None:
    number = ".".join(map(str, version))
    log.info("%s of iptables %s, whose rules were not compared with kproxy's", _SLOW, number)


@cache
def _is_taken(spoken: Dialect) -> bool:
    header = struct.pack(">BBH", NFPROTO[spoken.family], 0, 0)
    try:
        with Session() as session:
            for name, revision, kind in _EXTENSIONS:
                body = attribute(1, name.encode() + b"\0")
                body += attribute(2, struct.pack(">L", revision))
                body += attribute(3, struct.pack(">L", kind))
                what = (f"find revision {revision} of {name}",)
                session.ask(Request(_GET_EXTENSION, header + body, what))
    except KernelRefused as error:
        log.info("%s of iptables, for %s: %s", _SLOW, spoken.family.value, error)
        return False
    return True
