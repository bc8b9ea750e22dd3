"""Lost connections are concluded from what taps saw, and others are waited for.

The time-out is an hour, so a test that waits for it does not end.
"""

from __future__ import annotations

import threading

import pytest

from kproxy.address import Family
from kproxy.forwarding.network import Packet
from kproxy.kernel.process import run
from kproxy.outcome import Connection, Outcome
from kproxy.probe import Prober
from kproxy.probe.connection import greeting
from kproxy.probe.following import Followed
from kproxy.testing import LabFactory, ProbedLab
from netns_tests.forwarding.survey import BOTH

HOUR_S = 3600.0
PODS = dict.fromkeys(("open", "forward", "output", "reject"), "node-a")


@pytest.fixture(scope="module")
def lab(kproxy_module_lab: LabFactory) -> ProbedLab:
    lab = kproxy_module_lab(pods=PODS, mode=None)
    with lab.nodes["node-a"].namespace.entered():
        for family, command in ((Family.IPV4, "iptables"), (Family.IPV6, "ip6tables")):
            pods = {name: lab.pods[name].addresses[family] for name in PODS}
            for chain, pod, verdict in (
                ("FORWARD", "forward", "DROP"),
                ("OUTPUT", "output", "DROP"),
                ("FORWARD", "reject", "REJECT"),
            ):
                run([command, "-A", chain, "-d", pods[pod], "-j", verdict])
    return lab


@pytest.mark.parametrize("family", BOTH)
def test_no_time_out_is_waited_for(lab: ProbedLab, family: Family) -> None:
    rows = [
        ("outside", "open", Outcome.SUCCESS),
        ("node-a", "open", Outcome.SUCCESS),
        ("outside", "forward", Outcome.TIMEOUT),
        ("node-a", "output", Outcome.TIMEOUT),  # no tap sees its SYN
        ("outside", "reject", Outcome.REFUSED),
    ]
    packets = [
        Packet(client=client, address=lab.pods[pod].addresses[family], port=8080)
        for client, pod, _ in rows
    ]
    with (
        Prober(lab) as prober,
        Followed(lab, prober, [*map(greeting, packets)], timeout_s=HOUR_S) as connections,
    ):
        connections.conclude(prober.follow_many(packets), lambda _: True)
        found = connections.results()
    assert [each.outcome for each in found] == [outcome for *_, outcome in rows]


def test_a_loss_that_may_not_last_is_waited_for(lab: ProbedLab) -> None:
    """The rule is removed after the first SYN was lost, and the second one passes."""
    address = lab.pods["open"].addresses[Family.IPV4]
    packet = Packet(client="outside", address=address, port=8080)
    node = lab.nodes["node-a"].namespace
    rule = ["FORWARD", "-s", lab.clients["outside"].addresses[Family.IPV4], "-j", "DROP"]
    with node.entered():
        run(["iptables", "-I", *rule])
    with (
        Prober(lab) as prober,
        Followed(lab, prober, [greeting(packet)], timeout_s=HOUR_S) as connections,
    ):
        connections.conclude(prober.follow_many([packet]), lambda _: False)
        with node.entered():
            run(["iptables", "-D", *rule])
        (found,) = connections.results()
    assert found == Connection(
        outcome=Outcome.SUCCESS,
        pod="open",
        source=lab.clients["outside"].addresses[Family.IPV4],
    )


def test_a_late_packet_is_waited_for(kproxy_lab: LabFactory) -> None:
    """The SYN waits until its host knows the neighbour's link address."""
    lab = kproxy_lab(pods={"pod-a": "node-a"}, mode=None)
    outside, router = lab.clients["outside"], lab.hosts["router"]
    packet = Packet(client="outside", address=lab.pods["pod-a"].addresses[Family.IPV4], port=8080)
    with outside.namespace.entered():
        run(["ip", "link", "set", "eth0", "arp", "off"])
        run(["ip", "link", "set", "eth0", "arp", "on"])
        run(["ip", "neighbour", "flush", "dev", "eth0"])
    with router.namespace.entered():
        run(["sysctl", "-q", "-w", "net.ipv4.conf.all.arp_ignore=8"])  # answers nobody

    def answer_again() -> None:
        with router.namespace.entered():
            run(["sysctl", "-q", "-w", "net.ipv4.conf.all.arp_ignore=0"])

    later = threading.Timer(0.5, answer_again)
    later.start()
    with (
        Prober(lab) as prober,
        Followed(lab, prober, [greeting(packet)], timeout_s=HOUR_S) as connections,
    ):
        connections.conclude(prober.follow_many([packet]), lambda _: True)
        (found,) = connections.results()
    later.join()
    assert found.outcome is Outcome.SUCCESS
