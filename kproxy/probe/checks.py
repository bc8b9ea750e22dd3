"""The checks: the behaviour of a lab, compared with the predictions of the oracle.

Forwarding, source translation, local-only pools, hairpin, reject or drop, and source ranges are all
the same comparison of one packet (and one real connection) with its prediction; `Question.check`
names the one a packet is sent for. Distribution and affinity need many connections.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import zip_longest
from typing import Protocol

from msgspec.structs import replace

from kproxy.address import Family, family_of, host_port
from kproxy.backend import DEFAULT_MODE, load, rules_of
from kproxy.errors import NoOracle
from kproxy.forwarding.network import Network, Packet
from kproxy.forwarding.oracle import predict
from kproxy.forwarding.plan import NodePortAddresses, NodeSettings, Plan
from kproxy.outcome import Connection, Observation, Outcome, Prediction
from kproxy.probe.chi_square import REJECT_BELOW, p_value
from kproxy.probe.comparison import connection_problems, packet_problems
from kproxy.probe.connection import connect, connect_many, greeting
from kproxy.probe.following import Followed
from kproxy.probe.prober import Probed, Prober

CONNECTIONS = 300
_EXPIRY_MARGIN_S = 0.1  # xt_recent and nf_tables count in jiffies, of 1 to 10 ms
# A host without a route tells each IPv4 client so five times, then once a second, whatever limits
# of ICMP are set: the packet and the connection of a question can be told again after this time.
# Source: net/ipv4/route.c (ip_error)
_TOLD_AGAIN_S = 2.1


class Checked(Probed, Protocol):
    """A lab that knows the plan of each node, and the `mode` of its proxies (None without any)."""

    @property
    def mode(self) -> str | None: ...
    def plans(self, family: Family) -> Mapping[str, Plan]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A packet to send, and the name of the check it is sent for."""

    check: str
    packet: Packet


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check, in words."""

    check: str
    client: str
    asked: str
    answered: str
    """The pod that answered, or what happened instead."""
    source: str
    """The address that the pod saw, or ""."""
    expected: str
    """The prediction; "" if the mode has no oracle, so that nothing was judged."""
    why: str
    hops: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    """Empty if all was as the oracle predicted."""
    in_iptables_mode: str = ""
    """The outcome of the same question in iptables mode, "" if it is the same."""

    @property
    def judged(self) -> bool:
        return bool(self.expected)

    @property
    def ok(self) -> bool:
        return not self.problems


def prediction_for(
    checked: Checked, packet: Packet, network: Network | None = None
) -> Prediction | None:
    """Return the oracle's prediction for a packet, from the present plans of the nodes.

    None if the mode has no oracle, or the oracle does not know the network. `network`: replaces
    that of `checked`.
    """
    network = network or checked.network
    if not network.routed:
        return None
    try:
        rules = rules_of(checked.mode)
    except NoOracle:
        return None
    plans = checked.plans(family_of(packet.address))
    return predict(network, plans, packet, rules)


def contrast(checked: Checked, packet: Packet) -> str:
    """Return the prediction for a packet in the default mode, "" if it is the same."""
    here = prediction_for(checked, packet)
    if checked.mode in (DEFAULT_MODE, None) or here is None:
        return ""
    plans = {
        node: replace(plan, settings=_with_defaults_of_iptables_mode(plan.settings))
        for node, plan in checked.plans(family_of(packet.address)).items()
    }
    there = str(predict(checked.network, plans, packet, rules_of(DEFAULT_MODE)))
    return "" if there == str(here) else there


def _with_defaults_of_iptables_mode(settings: NodeSettings) -> NodeSettings:
    """Select all addresses for node ports if only nftables mode's default selected a single one."""
    primary = NodePortAddresses((str(ip_network(settings.node_ip)),))
    selected = settings.node_port_addresses
    return replace(
        settings,
        node_port_addresses=NodePortAddresses() if selected == primary else selected,
        localhost_node_ports=settings.family is Family.IPV4,
    )


def examine(checked: Checked, prober: Prober, questions: Sequence[Question]) -> list[Finding]:
    """Send a packet and make a real connection for each question, and compare with the oracle.

    A client that should have been refused and was not is asked once more after a pause.
    """
    findings = _examined(checked, prober, questions)
    for places in _to_ask_again(checked, questions, findings):
        time.sleep(_TOLD_AGAIN_S)
        again = _examined(checked, prober, [questions[place] for place in places])
        for place, finding in zip(places, again, strict=True):
            findings[place] = finding
    return findings


def _to_ask_again(
    checked: Checked, questions: Sequence[Question], findings: Sequence[Finding]
) -> list[list[int]]:
    """Return the places of questions whose refusal may have been left unsaid (`_TOLD_AGAIN_S`), in
    rounds of at most one of each client.
    """
    unheard: dict[str, list[int]] = {}
    for place, (question, finding) in enumerate(zip(questions, findings, strict=True)):
        packet = question.packet
        if finding.ok or family_of(packet.address) is Family.IPV6:
            continue
        predicted = prediction_for(checked, packet)
        if predicted and predicted.outcome is Outcome.REFUSED:
            unheard.setdefault(packet.client, []).append(place)
    rounds = zip_longest(*unheard.values())
    return [[place for place in each if place is not None] for each in rounds]


def _examined(checked: Checked, prober: Prober, questions: Sequence[Question]) -> list[Finding]:
    packets = [question.packet for question in questions]
    predictions = [prediction_for(checked, packet) for packet in packets]
    with Followed(checked, prober, [*map(greeting, packets)]) as connections:
        journeys = prober.follow_many(packets)

        def is_as_predicted(place: int) -> bool:
            """Tell whether a probe ended as the rules that the oracle knows say, and for good."""
            predicted, seen = predictions[place], journeys[place].observed
            if predicted is None or predicted.failing:  # a second SYN may go elsewhere
                return False
            return not packet_problems(predicted, seen)

        connections.conclude(journeys, is_as_predicted)
        return [
            _finding(checked, question, journey.observed, connection)
            for question, journey, connection in zip(
                questions, journeys, connections.results(), strict=True
            )
        ]


def distribution(checked: Checked, packet: Packet, connections: int = CONNECTIONS) -> Finding:
    """Make many real connections, which must spread evenly over the pods that may answer."""
    prediction = prediction_for(checked, packet)
    results = connect_many(checked, [packet] * connections)
    counts, problems = _count(results, prediction)
    pods = [*prediction.sources] if prediction else sorted(counts)
    chance = p_value([counts[pod] for pod in pods])
    if prediction and chance < REJECT_BELOW:
        problems.append(f"uneven: the probability of this by chance is {chance:.1g}")
    spread = " ".join(f"{pod}:{counts[pod]}" for pod in pods)
    return _many(
        "distribution",
        f"{connections} x {asked(packet)}",
        packet,
        prediction,
        results,
        f"{spread} (p={chance:.2g})",
        problems,
    )


def affinity(checked: Checked, packet: Packet, connections: int = 20) -> Finding:
    """Make connections from one client, which must all go to the pod of the first one."""
    prediction = prediction_for(checked, packet)
    first = connect(checked, packet)
    results = [first, *connect_many(checked, [packet] * (connections - 1))]
    counts, problems = _count(results, prediction)
    if prediction and len(counts) > 1:
        problems.append(f"the client was not kept on one pod: {_tally(counts)}")
    times = f"{connections} x {asked(packet)}"
    return _many("session affinity", times, packet, prediction, results, _tally(counts), problems)


def affinity_expiry(checked: Checked, packet: Packet, timeout_s: int) -> Finding:
    """Connect with pauses longer than `timeout_s`, after which the client may get another pod.

    Each connection renews the affinity, so each pause is a full timeout. Ends at the first change,
    or after so many connections that the same pod is beyond chance (`REJECT_BELOW`).

    In ipvs mode it must get the same pod: IPVS forgets a client only when it remembers none of its
    connections (TCP: two minutes after the end), which it checks once a minute. One pause shows
    that, since a scheduler like rr would choose another pod for a new client.
    """
    prediction = prediction_for(checked, packet)
    outlasts = checked.mode is not None and load(checked.mode).affinity_follows_connections
    results = [connect(checked, packet)]
    visits = 1 if outlasts or prediction is None else _visits(len(prediction.sources))
    for _ in range(visits):
        time.sleep(timeout_s + _EXPIRY_MARGIN_S)
        results.append(connect(checked, packet))
        if results[-1] != results[0]:
            break
    counts, problems = _count(results, prediction)
    if prediction and outlasts and len(counts) > 1:
        problems.append(f"another pod, though IPVS remembers a connection: {_tally(counts)}")
    if prediction and not outlasts and len(counts) < 2:
        problems.append(f"still the same pod after {len(results) - 1} pauses: {_tally(counts)}")
    times = f"{asked(packet)} after {timeout_s} s away"
    finding = _many("affinity expiry", times, packet, prediction, results, _tally(counts), problems)
    there = "another pod in the end" if outlasts else ""
    return dataclasses.replace(finding, in_iptables_mode=there)


def _visits(pods: int) -> int:
    """Return the number of pauses after which getting the same of `pods` pods is beyond chance."""
    return math.ceil(math.log(REJECT_BELOW) / math.log(1 / pods)) if pods > 1 else 1


def _finding(
    checked: Checked, question: Question, seen: Observation, connection: Connection
) -> Finding:
    packet = question.packet
    prediction = prediction_for(checked, packet)
    # Which pod is behind a handshake with a relay, only a connection shows.
    behind = bool(prediction and prediction.relay) and seen.answered and connection.success
    return Finding(
        check=question.check,
        client=packet.client,
        asked=asked(packet),
        answered=connection.pod if behind else _answered(seen),
        source=connection.source if behind else seen.source,
        expected=str(prediction or ""),
        why=prediction.why if prediction else "",
        hops=seen.hops,
        problems=(
            *packet_problems(prediction, seen),
            *connection_problems(packet, prediction, seen, connection),
        )
        if prediction
        else (),
        in_iptables_mode=contrast(checked, packet),
    )


def _answered(seen: Observation) -> str:
    """Return the pod that answered, or what happened instead."""
    match seen.outcome:
        case Outcome.DELIVERED:
            return seen.pod if seen.answered else f"{seen.pod}, unheard"
        case Outcome.REFUSED:
            return f"refused by {seen.at}"
        case _:
            return f"dropped at {seen.at}"


def _many(
    check: str,
    times: str,
    packet: Packet,
    prediction: Prediction | None,
    results: Sequence[Connection],
    answered: str,
    problems: list[str],
) -> Finding:
    sources = {result.source for result in results if result.success}
    return Finding(
        check=check,
        client=packet.client,
        asked=times,
        answered=answered,
        source=", ".join(sorted(sources)),
        expected=str(prediction or ""),
        why=prediction.why if prediction else "",
        problems=tuple(problems),
    )


def _count(
    results: Sequence[Connection], prediction: Prediction | None
) -> tuple[Counter[str], list[str]]:
    """Count the answers of each pod, and return the problems besides."""
    counts = Counter(result.pod for result in results if result.success)
    problems: list[str] = []
    if prediction is None:
        return counts, problems
    failed = Counter(str(result) for result in results if not result.success)
    for how, times in failed.items():
        problems.append(f"{times} of {len(results)} connections {how}")
    pairs = {(result.pod, result.source) for result in results if result.success}
    for pod, source in sorted(pairs - set(prediction.sources.items())):
        problems.append(f"{pod} answered and saw {source}, expected: {prediction}")
    return counts, problems


def _tally(counts: Counter[str]) -> str:
    return " ".join(f"{pod}:{count}" for pod, count in sorted(counts.items())) or "nobody"


def asked(packet: Packet) -> str:
    """Return `address:port`, with the protocol unless it is TCP."""
    protocol = "" if packet.protocol == "TCP" else f"/{packet.protocol}"
    return host_port(packet.address, packet.port) + protocol
