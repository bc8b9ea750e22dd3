"""The ports that a pod answers on, and its answers to datagrams."""

from __future__ import annotations

import json
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace

import pytest

from kproxy.address import Family
from kproxy.lab import Lab, LabSpec, NodeSpec, PodSpec, PortSpec
from kproxy.lab.pods.server import PodServer
from kproxy.probe.datagrams import probe, reply_prefix, tagged

SPEC = LabSpec(
    nodes=(
        NodeSpec(
            name="node-a", pods=(PodSpec(name="web", ports=(PortSpec(port=53, protocol="UDP"),)),)
        ),
    ),
)
LIMITS = resource.getrlimit(resource.RLIMIT_NOFILE)


@pytest.mark.parametrize("datagram", [b"kproxy\n", probe(0x0A0B0C0D)])
def test_a_probe_is_told_that_it_is_answered(datagram: bytes) -> None:
    with Lab(SPEC, mode=None) as lab:
        for family in Family:
            with lab.nodes["node-a"].namespace.entered():
                sock = socket.socket(family.socket_family, socket.SOCK_DGRAM)
            with sock:
                sock.settimeout(5)
                sock.connect((lab.pods["web"].addresses[family], 53))
                sock.send(datagram)
                answer = sock.recv(1000)
            mark = reply_prefix(datagram)
            assert answer.startswith(mark)
            assert json.loads(answer.removeprefix(mark))["pod"] == "web"
            assert bool(tagged(answer)) == bool(mark)


def test_a_number_may_have_several_names() -> None:
    http, metrics = (PortSpec(port=8080, name=name) for name in ("http", "metrics"))
    with asking(http, metrics) as (tcp, _):
        tcp.send(b"\n")
        assert json.loads(tcp.recv(1000))["pod"] == "web"


def test_connections_wait_while_there_is_no_descriptor_for_them() -> None:
    with ExitStack() as limited:
        limited.callback(resource.setrlimit, resource.RLIMIT_NOFILE, LIMITS)
        ports = PortSpec(port=8080), PortSpec(port=8080, protocol="UDP")
        with asking(*ports, connected=False) as (tcp, udp):
            lowest_free = os.dup(0)
            os.close(lowest_free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, LIMITS[1]))
            tcp.connect(udp.getpeername())
            tcp.send(b"\n")
            udp.send(b"\n")  # when it is answered, the server has tried to accept the connection
            assert udp.recv(1000)
            limited.close()
            assert json.loads(tcp.recv(1000))["pod"] == "web"


@contextmanager
def asking(
    *ports: PortSpec, connected: bool = True
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield sockets for TCP and UDP on the node of a pod that serves `ports` (of number 8080)."""
    with ExitStack() as undo:
        lab = undo.enter_context(Lab(SPEC, mode=None))
        server = undo.enter_context(closing(PodServer()))
        web = lab.pods["web"]
        server.listen(replace(web, spec=replace(web.spec, ports=ports)))
        with lab.nodes["node-a"].namespace.entered():
            tcp, udp = (
                undo.enter_context(socket.socket(socket.AF_INET, kind))
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
            )
        for sock in (udp, tcp) if connected else (udp,):
            sock.connect((web.addresses[Family.IPV4], 8080))
        for sock in (udp, tcp):
            sock.settimeout(5)
        yield tcp, udp
