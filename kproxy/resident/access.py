"""The ways to a lab's API: its sockets, certificates, token and kubeconfigs.

It listens on loopback of the machine, and on the lab's router at port 6443, where a cluster's
control plane would be: nodes, pods and clients reach that, and the Service `kubernetes` leads
there.
"""

from __future__ import annotations

import errno
import secrets
import socket
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path

from msgspec import Struct

from kproxy.address import Family, host_port
from kproxy.errors import BadInput
from kproxy.lab import Lab
from kproxy.lab.layout import by_family
from kproxy.lab.names import ROUTER
from kproxy.resident.certificates import Certificates, make_certificates
from kproxy.resident.kubeconfig import kubeconfig_text
from kproxy.resident.places import write_private
from kproxy.resident.records import INSIDE, KUBECONFIG, TOKEN

PORT_INSIDE = 6443
_BACKLOG = 1024
_ATTEMPTS = 16  # to find a port that is free in both families
_HOSTS = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


class Access(Struct, frozen=True):
    """The access to an API. `sockets` listen already; whoever serves them closes them."""

    url: str
    token: str
    certificates: Certificates
    sockets: tuple[socket.socket, ...]


def open_access(lab: Lab, place: Path, port: int) -> Access:
    """Make sockets, certificates, token and kubeconfigs of a lab; `port` 0 is any free one.

    Raises BadInput if the port is taken, Unsupported, KernelRefused.
    """
    router = lab.hosts[ROUTER]
    with ExitStack() as undo:
        sockets = listen_outside(port)
        for each in sockets:
            undo.callback(each.close)
        inside = router.namespace.run(lambda: [_listen(each, "", PORT_INSIDE) for each in Family])
        for each in inside:
            undo.callback(each.close)
        addresses = ["127.0.0.1", "::1", *router.addresses.values(), *service_addresses(lab)]
        hosts = (*_HOSTS, "kubernetes.default.svc.cluster.local")
        made = make_certificates(place, place.name, hosts, addresses)
        token = secrets.token_urlsafe(32)
        write_private(place / TOKEN, token)
        url = f"https://127.0.0.1:{sockets[0].getsockname()[1]}"
        within = f"https://{host_port(next(iter(router.addresses.values())), PORT_INSIDE)}"
        authority = made.authority.read_bytes()
        for name, server in ((KUBECONFIG, url), (INSIDE, within)):
            text = kubeconfig_text(place.name, server, authority, token)
            write_private(place / name, text)
        undo.pop_all()
    return Access(url, token, made, (*sockets, *inside))


def service_addresses(lab: Lab) -> list[str]:
    """Return the cluster IPs of the Service `kubernetes`: the first of each service CIDR."""
    cidrs = by_family(lab.spec.families, lab.spec.service_cidrs).values()
    return [str(ip_network(cidr)[1]) for cidr in cidrs]


def listen_outside(port: int, option: str = "--api-port") -> list[socket.socket]:
    """Return sockets on loopback, all of the same port. Raises BadInput if it is taken, in words
    for the `option` that asked for it.
    """
    for _ in range(_ATTEMPTS):
        sockets: list[socket.socket] = []
        try:
            sockets.append(_listen(Family.IPV4, "127.0.0.1", port))
            number = sockets[0].getsockname()[1]
            sockets.append(_listen(Family.IPV6, "::1", number))
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) and sockets:
                return sockets  # this machine has no IPv6
            for each in sockets:
                each.close()
            if error.errno != errno.EADDRINUSE:
                raise
            if port:
                break
        else:
            return sockets
    taken = f"{option} {port}: another program listens there"
    raise BadInput([taken if port else "no port of loopback is free"])


def _listen(family: Family, address: str, port: int) -> socket.socket:
    with ExitStack() as undo:
        listener = undo.enter_context(socket.socket(family.socket_family, socket.SOCK_STREAM))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is Family.IPV6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        undo.pop_all()
    return listener
