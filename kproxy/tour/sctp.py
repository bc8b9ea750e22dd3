"""Finds where the first packet of an SCTP association arrives, also on kernels without SCTP.

Nodes translate SCTP by conntrack or IPVS, on any kernel that has these. Only the pods' sockets need
the protocol itself; so what counts is whether the INIT comes to a pod, whatever that answers.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from kproxy.api.types import Pod
from kproxy.forwarding.network import Network
from kproxy.lab import Lab
from kproxy.lab.names import host_name
from kproxy.probe.checks import Finding, Question, asked, prediction_for
from kproxy.probe.journey import Journey
from kproxy.probe.packets import Role
from kproxy.probe.prober import Prober


def examine_sctp(lab: Lab, prober: Prober, questions: Sequence[Question]) -> list[Finding]:
    """Send an INIT for each question, and compare the pod that gets it with the prediction."""
    if not questions:
        return []
    journeys = prober.follow_many([question.packet for question in questions])
    network = _with_sctp(lab)
    return [
        _finding(lab, network, question, _arrival(lab, journey))
        for question, journey in zip(questions, journeys, strict=True)
    ]


def _arrival(lab: Lab, journey: Journey) -> tuple[str, str] | None:
    """Return the pod that got the INIT, and the source that it saw; None if it came to no pod."""
    requests = [each for each in journey.seen if each.sighting.role is Role.REQUEST]
    if requests and not requests[-1].outgoing and requests[-1].host in lab.pods:
        return requests[-1].host, requests[-1].sighting.source
    return None


def _finding(
    lab: Lab, network: Network, question: Question, arrival: tuple[str, str] | None
) -> Finding:
    packet = question.packet
    prediction = prediction_for(lab, packet, network)
    pod, source = arrival or ("", "")
    problems = []
    if prediction and arrival and prediction.sources.get(pod) != source:
        problems = [f"INIT came to {pod}: {prediction}"]
    elif prediction and not arrival and prediction.sources:
        problems = [f"INIT came to no pod, expected: {prediction}"]
    return Finding(
        check=question.check,
        client=packet.client,
        asked=asked(packet),
        answered=f"INIT came to {pod}" if pod else "INIT came to no pod",
        source=source,
        expected=str(prediction or ""),
        why=prediction.why if prediction else "",
        problems=tuple(problems),
    )


def _with_sctp(lab: Lab) -> Network:
    """Return the network as if every pod served the SCTP ports that its manifest names."""
    network = lab.network
    hosts = dict(network.hosts)
    for pod in lab.objects(Pod):
        name = host_name(pod.metadata.name, pod.metadata.namespace)
        ports = {
            ("SCTP", port.container_port)
            for container in pod.spec.containers
            for port in container.ports
            if port.protocol == "SCTP"
        }
        if name in hosts:
            listens = tuple({*hosts[name].listens, *ports})
            hosts[name] = replace(hosts[name], listens=listens)
    return replace(network, hosts=hosts)
