"""A node for tests: a namespace with the addresses of a node, all that is in it, and no privilege.

`CONFIG` and `RandomCluster` belong to it: it is their node-0.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from kproxy.config import ProxyConfig
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel import sysctl
from kproxy.kernel.links import Links, Route
from kproxy.kernel.listening import listening
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run

CONFIG = ProxyConfig(
    hostname_override="node-0",
    bind_address="192.168.10.10",
    cluster_cidr="10.244.0.0/16,fd00:10:244::/56",
    detect_local_mode="ClusterCIDR",
)

# A new namespace takes over some of these from the machine's own.
_SYSCTLS_OFF = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/conf/all/arp_ignore",
    "net/ipv4/conf/all/arp_announce",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
)
_ROUTES = ("-4 route show table all", "-6 route show table all", "-4 rule", "-6 rule")
_LOOKS = {  # program -> arguments of each look
    "nft": ("--stateless list ruleset",),
    "ip": ("-oneline address", *_ROUTES),
    "ipset": ("save",),
    "ipvsadm": ("--save --numeric",),
}
_AGES = re.compile(r" (?:(?:valid_lft|preferred_lft|expires|initval) \S+|linkdown|tentative)")
# The kernel takes its time with link-local addresses, and with the routes that belong to addresses.
_LATE = re.compile(r"fe80::|proto kernel")

_CAP_NET_ADMIN, _CAP_NET_RAW = 12, 13  # linux/capability.h
_CAPABILITY_VERSION_3 = 0x20080522
_PR_GET_SECUREBITS, _PR_SET_SECUREBITS = 27, 28  # linux/prctl.h
_SECBIT_NOROOT = 1  # linux/securebits.h
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def new_node() -> Iterator[None]:
    """Move the calling thread onto a new node for the duration of the block.

    The node has a default route out of eth0, towards a router, and the bridge cni0 for pods.
    Raises Unsupported without the privilege ::

        router (no address) ---- eth0  node-0  cni0
                                 192.168.10.10/24, fd00:192::10/64      10.244.0.1/24
    """
    with (
        Namespace.create("router") as router,
        Namespace.create("node-0") as node,
    ):
        with node.entered(), Links() as links:
            for name in _SYSCTLS_OFF:
                sysctl.write(name, 0)
            links.add_veth("eth0", peer="e0", peer_namespace=router)
            links.add_bridge("cni0")
            for name in ("lo", "eth0", "cni0"):
                links.up(name)
            links.add_address("eth0", "192.168.10.10/24")
            links.add_address("eth0", "fd00:192::10/64")
            links.add_address("cni0", "10.244.0.1/24")
            links.add_route(Route(destination="0.0.0.0/0", link="eth0", via="192.168.10.1"))
            links.add_route(Route(destination="::/0", link="eth0", via="fd00:192::1"))
        with router.entered(), Links() as links:
            links.up("e0")
        with node.entered():
            yield


def namespace_state() -> Mapping[str, str]:
    """Return what there is in the calling thread's namespace, as the usual tools print it.

    nf_tables, addresses, routes, rules, sets, virtual servers, listening sockets, and the settings
    that a service proxy may touch; nothing of what counts or ages. Tools that are not installed are
    left out. Legacy tables of iptables are not looked at: that would make them.
    """
    found = {
        f"{program} {arguments}": _said([program, *arguments.split()])
        for program, looks in _LOOKS.items()
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        for arguments in looks
    }
    found["listening"] = "\n".join(sorted(map(str, listening())))
    return found | {name: sysctl.read(name) for name in _SYSCTLS_OFF}


def _said(argv: list[str]) -> str:
    try:
        lines = _AGES.sub("", run(argv)).splitlines()
    except KernelRefused:  # this kernel has nothing of the kind
        return ""
    return "\n".join(line for line in lines if not _LATE.search(line))


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    """Sets of capabilities 0 to 31; a second one has 32 to 63."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextmanager
def unprivileged(*_: object) -> Iterator[None]:
    """Take the right to change the network from the calling thread for the duration of the block.

    Also from programs that it starts, though not from processes and threads that run already. The
    kernel then refuses rules, addresses, routes, virtual servers and settings. What it is called
    with does not matter, so that it can be a `Subject.refuse` as it is.
    Raises Unsupported if the thread is not privileged to begin with.
    """
    header = _Header(_CAPABILITY_VERSION_3, 0)
    held = (_Capabilities * 2)()
    _checked(_libc.capget(ctypes.byref(header), held))
    effective = held[0].effective
    bits = _libc.prctl(_PR_GET_SECUREBITS)
    _checked(_libc.prctl(_PR_SET_SECUREBITS, bits | _SECBIT_NOROOT, 0, 0, 0))
    try:
        held[0].effective &= ~(1 << _CAP_NET_ADMIN | 1 << _CAP_NET_RAW)
        _checked(_libc.capset(ctypes.byref(header), held))
        try:
            yield
        finally:
            held[0].effective = effective
            _checked(_libc.capset(ctypes.byref(header), held))
    finally:
        _checked(_libc.prctl(_PR_SET_SECUREBITS, bits, 0, 0, 0))


def _checked(result: int) -> None:
    if result < 0:
        reason = os.strerror(ctypes.get_errno())
        raise Unsupported(f"cannot change this thread's capabilities: {reason}", remedy="use sudo")
