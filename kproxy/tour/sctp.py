"""Finds where the first packet of an SCTP association arrives, also on kernels without SCTP.

Nodes translate SCTP by conntrack or IPVS, on any kernel that has these. Only the pods' sockets need
the protocol itself; so the packet (an INIT) is made by scapy, and pods are tapped.
"""

from __future__ import annotations

import random
import selectors
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

from msgspec.structs import replace
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.sctp import SCTP, SCTPChunkInit

from kproxy.address import Family, family_of
from kproxy.api.types import Pod
from kproxy.forwarding.network import Network, Packet
from kproxy.lab import Lab
from kproxy.lab.names import host_name
from kproxy.probe.batch import source_address
from kproxy.probe.checks import Finding, Question, asked, prediction_for
from kproxy.probe.prober import SILENCE_S
from kproxy.probe.taps import Tap

_Arrivals = Mapping[int, tuple[str, str]]  # tag of an INIT -> the pod that got it, its source


def examine_sctp(lab: Lab, questions: Sequence[Question]) -> list[Finding]:
    """Send an INIT for each question, and compare the pod that gets it with the prediction."""
    if not questions:
        return []
    first = random.randrange(1, 1 << 24)
    tags = range(first, first + len(questions))
    with _tapped(lab) as taps:
        for tag, question in zip(tags, questions, strict=True):
            _send(lab, question.packet, tag)
        arrived = _watch(taps, {*tags})
    network = _with_sctp(lab)
    return [
        _finding(lab, network, question, arrived.get(tag))
        for tag, question in zip(tags, questions, strict=True)
    ]


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


@contextmanager
def _tapped(lab: Lab) -> Iterator[list[Tap]]:
    with ExitStack() as stack:
        taps = []
        for pod in lab.pods.values():
            taps.append(Tap(pod.name, pod.namespace))
            stack.callback(taps[-1].close)
        yield taps


def _send(lab: Lab, packet: Packet, tag: int) -> None:
    namespace = lab.hosts[packet.client].namespace
    source = source_address(namespace, packet.address)
    if not source:
        return
    family = family_of(packet.address)
    header = IPv6 if family is Family.IPV6 else IP
    init = SCTPChunkInit(init_tag=tag, a_rwnd=65536, n_out_streams=1, n_in_streams=1)
    segment = SCTP(sport=20000 + tag % 10000, dport=packet.port, tag=0) / init
    data = bytes(header(src=source, dst=packet.address) / segment)
    with namespace.entered():
        sender = socket.socket(family.socket_family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with sender, suppress(PermissionError):  # its own OUTPUT hook dropped it
        sender.sendto(data, (packet.address, 0))


def _watch(taps: Sequence[Tap], tags: set[int]) -> _Arrivals:
    """Read until all have arrived, or nothing was captured for a while."""
    found: dict[int, tuple[str, str]] = {}
    with selectors.DefaultSelector() as selector:
        for tap in taps:
            selector.register(tap.socket, selectors.EVENT_READ, tap)
        deadline = time.monotonic() + SILENCE_S
        while tags - found.keys() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                for captured in key.data.read():
                    tag, source = _init(captured.data)
                    if tag in tags and not captured.outgoing:
                        found[tag] = captured.host, source
                        deadline = time.monotonic() + SILENCE_S
    return found


def _init(data: bytes) -> tuple[int, str]:
    """Return tag and source of an INIT; 0 for other packets, also for an error that quotes one."""
    packet = IPv6(data) if data[0] >> 4 == 6 else IP(data)
    if not isinstance(packet.payload, SCTP) or SCTPChunkInit not in packet:
        return 0, ""
    return packet[SCTPChunkInit].init_tag, packet.src


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
