"""In ipvs mode every node answers ARP for the addresses of Services, unless strictARP is set."""

from __future__ import annotations

import socket
import time

import pytest

from kproxy.api.types import ServicePort
from kproxy.config import ProxyConfig
from kproxy.config.types import IpvsSection
from kproxy.kernel import sysctl
from kproxy.kernel.process import run
from kproxy.lab import service
from kproxy.testing import LabFactory

VIP = "203.0.113.10"
DEADLINE_S = 10.0


@pytest.mark.parametrize(
    ("mode", "strict_arp", "answers"),
    [
        pytest.param("iptables", False, False, id="iptables"),
        pytest.param("nftables", False, False, id="nftables"),
        pytest.param("ipvs", False, True, id="ipvs", marks=pytest.mark.ipvs),
        pytest.param("ipvs", True, False, id="ipvs-strictARP", marks=pytest.mark.ipvs),
    ],
)
def test_who_has_the_vip(
    kproxy_lab: LabFactory, mode: str, strict_arp: bool, answers: bool
) -> None:
    made = service(
        "web",
        cluster_ips=["10.96.0.10"],
        ports=[ServicePort(port=80)],
        type="LoadBalancer",
        load_balancer_ips=[VIP],
    )
    config = ProxyConfig(ipvs=IpvsSection(strict_arp=strict_arp))
    lab = kproxy_lab(mode=mode, config=config, manifests=[made])
    with lab.hosts["router"].namespace.entered():
        sysctl.write("net/ipv4/neigh/node-a/retrans_time_ms", 100)
        run(["ip", "route", "add", VIP, "dev", "node-a"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", (VIP, 9))
        neighbour = ""
        deadline = time.monotonic() + DEADLINE_S
        while not any(word in neighbour for word in ("lladdr", "FAILED")):
            assert time.monotonic() < deadline, neighbour
            neighbour = run(["ip", "neigh", "show", "to", VIP])
    assert ("lladdr" in neighbour) == answers
