"""Packets and connections to all addresses of the Services, compared with the oracle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from kproxy.address import Family
from kproxy.api.types import Service
from kproxy.backend import load
from kproxy.explain.facts import Facts
from kproxy.explain.reason import explain
from kproxy.explain.traces import Traces
from kproxy.forwarding.network import Packet
from kproxy.kernel.xtables import choose_variant
from kproxy.lab import Lab
from kproxy.lab.names import ROUTER
from kproxy.probe.checks import (
    Finding,
    Question,
    affinity,
    affinity_expiry,
    asked,
    distribution,
    examine,
    prediction_for,
)
from kproxy.probe.prober import Prober
from kproxy.tour import objects
from kproxy.tour.part import Part, is_answered
from kproxy.tour.questions import CLUSTER_IP, Places, questions
from kproxy.tour.sctp import examine_sctp

_CONNECTIONS = 60  # enough to see them spread, but still quick
_LONGEST_PAUSE_S = 3  # the longest session affinity whose expiry is waited for


def ask(lab: Lab, prober: Prober) -> list[Part]:
    """Return a part for each Service that has an address, with the questions that show it best."""
    found = [(service, _questions(lab, service)) for service in objects.services(lab)]
    _leave_out_repetitions(found, client=next(iter(lab.clients)))
    answers = iter(_examine(lab, prober, [each for _, of in found for each in of]))
    parts = []
    for service, asked_of_it in found:
        findings = [next(answers) for _ in asked_of_it]
        if findings:
            findings += _longer(lab, service)
            parts.append(Part(title=title_of(service), findings=findings))
    return parts


def ask_again(
    lab: Lab, prober: Prober, title: str, *, notes: Sequence[str] = (), problems: Sequence[str] = ()
) -> Part:
    """Ask again after a change, only from the pod `shell`, and show the endpoints."""
    found = [
        each
        for service in objects.services(lab)
        for each in _questions(lab, service)
        if each.packet.client == objects.SHELL
    ]
    findings = _examine(lab, prober, found)
    return Part(
        title=title,
        tables=[each for each in objects.tables(lab) if each.header[0] == "endpoints of"],
        findings=findings,
        notes=notes,
        problems=problems,
    )


def why(lab: Lab, prober: Prober, parts: Iterable[Part]) -> Part:
    """Explain some packets: the first answered one of each pod and of the client outside, and one
    for each node or pod where a packet ended or whose answer was lost.

    The reasons come from the kernel's trace. In ipvs mode no rule decides, so they come from the
    plan.
    """
    findings = {
        (finding.client, finding.asked): finding for part in parts for finding in part.findings
    }
    chosen: dict[str, Packet] = {}
    for service in objects.services(lab):
        for packet in (each.packet for each in _questions(lab, service)):
            finding = findings.get((packet.client, asked(packet)))
            if finding is None or packet.protocol == "SCTP":
                continue
            if is_answered(finding):
                if packet.client not in lab.nodes:
                    chosen.setdefault(packet.client, packet)
            elif "router" not in finding.answered:
                chosen.setdefault(finding.answered.partition(" ")[0], packet)
    packets = list(chosen.values())
    if lab.mode is not None and not load(lab.mode).traced:
        heading = "Why, according to the plan"
        reasons = [findings[each.client, asked(each)].why for each in packets]
    else:
        heading = "How, according to the kernel's trace of single packets"
        reasons = _traced(lab, prober, packets)
    notes = [
        f"{packet.client} asks {asked(packet)}: {reason}."
        for packet, reason in zip(packets, reasons, strict=True)
    ]
    return Part(title=heading, notes=notes)


def _traced(lab: Lab, prober: Prober, packets: Sequence[Packet]) -> list[str]:
    """Send the packets again, traced on the nodes and the router, and return the reasons."""
    deciding = {name: lab.hosts[name] for name in (*lab.nodes, ROUTER)}
    with lab.hosts[ROUTER].namespace.entered():
        variant = choose_variant(Family.IPV4)
    with Traces(deciding, variant) as traces:
        journeys = prober.follow_many(packets)
        steps = traces.read({journey.tag for journey in journeys})
        facts = Facts(lab.hosts)
        return [
            explain(packet, journey, steps.get(journey.tag, []), facts, traces.describe).text
            for packet, journey in zip(packets, journeys, strict=True)
        ]


def title_of(service: Service) -> str:
    """Return the Service's main properties: `web, NodePort, externalTrafficPolicy Local`."""
    spec = service.spec
    said = [objects.short_name(service), "headless" if spec.cluster_ip == "None" else spec.type]
    if spec.external_traffic_policy == "Local":
        said.append("externalTrafficPolicy Local")
    if spec.internal_traffic_policy == "Local":
        said.append("internalTrafficPolicy Local")
    if spec.traffic_distribution:
        said.append(f"trafficDistribution {spec.traffic_distribution}")
    if spec.session_affinity == "ClientIP":
        said.append(f"session affinity for {_affinity_s(service)} s")
    return ", ".join(said)


def _questions(lab: Lab, service: Service) -> list[Question]:
    places = Places(
        pod=objects.SHELL,
        client=next(iter(lab.clients)),
        nodes={name: node.addresses for name, node in lab.nodes.items()},
    )
    return list(questions(service, objects.slices(lab, service), places))


def _leave_out_repetitions(found: Sequence[tuple[Service, list[Question]]], client: str) -> None:
    """Show only once that a cluster IP is unknown outside.

    More questions would fail: without a route, Linux answers each client five times, then once a
    second (ip_error in net/ipv4/route.c), whatever icmp_ratemask says.
    """
    shown = False
    for _, questions_of_it in found:
        for question in list(questions_of_it):
            if question.check == CLUSTER_IP and question.packet.client == client:
                if shown:
                    questions_of_it.remove(question)
                shown = True


def _examine(lab: Lab, prober: Prober, wanted: Sequence[Question]) -> list[Finding]:
    by_prober = iter(
        examine(lab, prober, [each for each in wanted if each.packet.protocol != "SCTP"])
    )
    of_sctp = iter(
        examine_sctp(lab, prober, [each for each in wanted if each.packet.protocol == "SCTP"])
    )
    return [next(of_sctp if each.packet.protocol == "SCTP" else by_prober) for each in wanted]


def _longer(lab: Lab, service: Service) -> Iterator[Finding]:
    """Yield checks of many connections from the pod `shell` to the first port."""
    found = [
        each.packet
        for each in _questions(lab, service)
        if each.check == CLUSTER_IP
        and each.packet.client == objects.SHELL
        and each.packet.protocol != "SCTP"
    ]
    if not found:
        return
    prediction = prediction_for(lab, found[0])
    if prediction and len(prediction.sources) < 2:
        return
    if service.spec.session_affinity == "None":
        yield distribution(lab, found[0], _CONNECTIONS)
        return
    yield affinity(lab, found[0])
    timeout_s = _affinity_s(service)
    if timeout_s <= _LONGEST_PAUSE_S:
        yield affinity_expiry(lab, found[0], timeout_s)


def _affinity_s(service: Service) -> int:
    config = service.spec.session_affinity_config
    return config.client_ip.timeout_seconds if config and config.client_ip else 10800
