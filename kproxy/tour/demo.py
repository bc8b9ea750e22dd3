"""The questions of `kproxy demo` to the cluster of examples/: one part for each manifest.

Here are only the questions. The oracle predicts the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from kproxy.address import Family
from kproxy.forwarding.network import Packet
from kproxy.probe.checks import (
    Checked,
    Finding,
    Question,
    affinity,
    affinity_expiry,
    distribution,
    examine,
)
from kproxy.probe.prober import Prober
from kproxy.tour.part import Part

LAB = "lab/demo.yaml"  # in examples/; in its own folder, because it is not a Kubernetes object


class HasAddresses(Protocol):
    @property
    def addresses(self) -> Mapping[Family, str]: ...


class ExampleLab(Checked, Protocol):
    """A running lab of examples/lab/demo.yaml."""

    @property
    def nodes(self) -> Mapping[str, HasAddresses]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """One part of the tour."""

    title: str
    questions: tuple[tuple[str, str, str, int, str], ...]
    """Single packets: (check, client, address or name of a node, port, protocol)."""
    longer: tuple[Callable[[Checked], Finding], ...] = ()
    """Checks of many connections."""


_FROM_SHELL = Packet(client="shell-c", address="10.96.0.10", port=80)
_TO_CART = Packet(client="shell-c", address="10.96.0.50", port=80)

TOUR = (
    Stop(
        title="ClusterIP web, 10.96.0.10 and fd00:10:96::10: web-a, web-b, web-c",
        questions=(
            ("forwarding", "shell-c", "10.96.0.10", 80, "TCP"),
            ("forwarding", "node-a", "10.96.0.10", 80, "TCP"),
            ("forwarding", "shell-c", "10.96.0.10", 7, "UDP"),
            ("forwarding", "shell-c", "fd00:10:96::10", 80, "TCP"),
        ),
        longer=(lambda lab: distribution(lab, _FROM_SHELL),),
    ),
    Stop(
        title="NodePort shop, 30080, externalTrafficPolicy Cluster: shop-a, shop-b",
        questions=(
            ("source translation", "outside", "node-a", 30080, "TCP"),
            ("source translation", "outside", "node-c", 30080, "TCP"),
            ("source translation", "shell-c", "node-b", 30080, "TCP"),
            ("forwarding", "node-a", "127.0.0.1", 30080, "TCP"),
        ),
    ),
    Stop(
        title="NodePort shop-local, 30090, both traffic policies Local: shop-a, shop-b",
        questions=(
            ("local only", "outside", "node-a", 30090, "TCP"),
            ("local only", "outside", "node-c", 30090, "TCP"),
            ("local only", "shell-c", "node-c", 30090, "TCP"),
            ("local only", "shell-c", "10.96.0.30", 80, "TCP"),
            ("hairpin", "shop-a", "10.96.0.30", 80, "TCP"),
        ),
    ),
    Stop(
        title="LoadBalancer api, 203.0.113.10, only for 198.51.100.0/24: web-a, web-b, web-c",
        questions=(
            ("source ranges", "outside", "203.0.113.10", 443, "TCP"),
            ("source ranges", "shell-c", "203.0.113.10", 443, "TCP"),
            ("source ranges", "node-a", "203.0.113.10", 443, "TCP"),
            ("source ranges", "shell-c", "10.96.0.40", 443, "TCP"),
        ),
    ),
    Stop(
        title="ClusterIP cart, session affinity for 1 s: web-a, web-b, web-c",
        questions=(),
        longer=(
            lambda lab: affinity(lab, _TO_CART),
            lambda lab: affinity_expiry(lab, _TO_CART, timeout_s=1),
        ),
    ),
    Stop(
        title="NodePort closed, 30099: no endpoints",
        questions=(
            ("reject or drop", "outside", "node-a", 30099, "TCP"),
            ("reject or drop", "shell-c", "10.96.0.60", 80, "TCP"),
            ("reject or drop", "node-b", "10.96.0.60", 80, "TCP"),
        ),
    ),
)


def walk(lab: ExampleLab) -> Iterator[Part]:
    """Yield the findings of each stop as soon as they are known."""
    with Prober(lab) as prober:
        # All single packets at once: dropped ones cost their timeout once, not at each stop.
        questions = [_question(lab, *row) for stop in TOUR for row in stop.questions]
        answers = iter(examine(lab, prober, questions))
    for stop in TOUR:
        findings = [next(answers) for _ in stop.questions]
        findings += [check(lab) for check in stop.longer]
        yield Part(title=stop.title, findings=findings)


def _question(
    lab: ExampleLab, check: str, client: str, where: str, port: int, protocol: str
) -> Question:
    address = lab.nodes[where].addresses[Family.IPV4] if where in lab.nodes else where
    packet = Packet(client=client, address=address, port=port, protocol=protocol)
    return Question(check=check, packet=packet)
