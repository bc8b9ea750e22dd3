"""Where a pod answers, and what it answers to datagrams."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from dataclasses import replace

import pytest

from kproxy.datagrams import probe, reply_prefix, tagged
from kproxy.forwarding.plan import Family
from kproxy.lab import Lab, LabSpec, NodeSpec, PodSpec, PortSpec
from kproxy.lab.pod_server import PodServer

SPEC = LabSpec(
    nodes=(
        NodeSpec(
            name="node-a", pods=(PodSpec(name="web", ports=(PortSpec(port=53, protocol="UDP"),)),)
        ),
    ),
)


@pytest.mark.parametrize("datagram", [b"kproxy\n", probe(0x0A0B0C0D)])
def test_a_probe_is_told_that_it_is_answered(datagram: bytes) -> None:
    with Lab(SPEC, mode=None) as lab:
        for family, kind in ((Family.IPV4, socket.AF_INET), (Family.IPV6, socket.AF_INET6)):
            with lab.nodes["node-a"].namespace.entered():
                sock = socket.socket(kind, socket.SOCK_DGRAM)
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
    ports = tuple(PortSpec(port=8080, name=name) for name in ("http", "metrics"))
    with Lab(SPEC, mode=None) as lab, closing(PodServer()) as server:
        web = lab.pods["web"]
        server.listen(replace(web, spec=replace(web.spec, ports=ports)))
        server.start()
        with lab.nodes["node-a"].namespace.entered():
            sock = socket.create_connection((web.addresses[Family.IPV4], 8080), timeout=5)
        with sock:
            sock.send(b"\n")
            assert json.loads(sock.makefile().readline())["pod"] == "web"
