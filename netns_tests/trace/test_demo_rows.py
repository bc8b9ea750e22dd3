"""Each question of `kproxy demo`: trace and explain agree with the oracle and with connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kproxy.address import Family, family_of
from kproxy.api.manifests import load
from kproxy.api.types import Ingress
from kproxy.backend import load as load_mode
from kproxy.explain.explainer import Explainer, Request
from kproxy.explain.itinerary import Itinerary
from kproxy.forwarding.network import Packet
from kproxy.lab import Lab, load_spec
from kproxy.outcome import How, Observation
from kproxy.probe.checks import prediction_for
from kproxy.probe.comparison import packet_problems
from kproxy.tour.demo import TOUR
from netns_tests.agreement import Asked, Explained
from netns_tests.findings import require_none
from netns_tests.modes import MODES, USERSPACE, Mode

EXAMPLES = Path(__file__).parents[2] / "examples"
ROWS = [(*row[1:],) for stop in TOUR for row in stop.questions]


@pytest.fixture(scope="module", params=[*MODES, USERSPACE], ids=str)
def demo(request: pytest.FixtureRequest) -> Iterator[tuple[Lab, Mode]]:
    mode: Mode = request.param
    with Lab(load_spec(EXAMPLES / "lab/demo.yaml"), mode.name, options=mode.options) as lab:
        lab.apply(each for each in load([EXAMPLES]).objects if not isinstance(each, Ingress))
        yield lab, mode


def packets(lab: Lab) -> Iterator[Packet]:
    for client, where, port, protocol in ROWS:
        address = lab.nodes[where].addresses[Family.IPV4] if where in lab.nodes else where
        yield Packet(client=client, address=address, port=port, protocol=protocol)


def as_observed(itinerary: Itinerary) -> Observation:
    """Return the outcome as a prober tells it, taken from the itinerary alone."""
    last = [hop for hop in itinerary.hops if hop.role == "request"][-1]
    match itinerary.outcome:
        case "delivered":
            answered = itinerary.answered
            return Observation.delivered(last.host, last.before.source, answered=answered)
        case "refused":
            (how,) = {hop.packet for hop in itinerary.hops if hop.role == "error"} or {""}
            return Observation.refused(itinerary.at, How(how))
        case _:
            return Observation.dropped(itinerary.at)


def test_all_rows(demo: tuple[Lab, Mode]) -> None:
    lab, mode = demo
    explained = Explained(lab, mode.options)
    asked = list(packets(lab))
    problems = []
    for packet, itinerary in zip(asked, explained.traced(asked), strict=True):
        prediction = prediction_for(lab, packet)
        assert prediction
        found = packet_problems(prediction, as_observed(itinerary))
        found += [*chosen_problems(lab, itinerary), *explained.differences(itinerary)]
        problems += [f"{packet}: {each}" for each in found]
    require_none(problems)


def test_all_rows_by_connections(demo: tuple[Lab, Mode]) -> None:
    """The client of each row meets what trace shows and explain says."""
    lab, mode = demo
    explained = Explained(lab, mode.options)
    for family in lab.spec.families:
        asked = [packet for packet in packets(lab) if family_of(packet.address) is family]
        with Explainer(lab, family) as explainer:
            met = explainer.ask([Request(packet=packet) for packet in asked])
            require_none(explained.disagreements([*map(Asked, asked, met)], explainer))


def chosen_problems(lab: Lab, itinerary: Itinerary) -> Iterator[str]:
    """Yield what is wrong with the endpoints: the last one must be where the request came to."""
    if itinerary.outcome != "delivered" or not itinerary.endpoints:
        return
    last = itinerary.endpoints[-1]
    requests = [hop for hop in itinerary.hops if hop.role in ("request", "onward request")]
    arrived = requests[-1]
    ends = arrived.after.destination, arrived.after.destination_port
    if (last.address, last.port, last.host) != (*ends, arrived.host):
        yield f"{last} is not where the request came to: {arrived.host}"
    assert lab.mode
    chooser = next(hop for hop in requests if hop.host == last.chosen_by)
    if load_mode(lab.mode).traced and not any(step.effect == "dnat" for step in chooser.steps):
        yield f"no rule on {chooser.host} translated it: {chooser.steps}"
    if load_mode(lab.mode).needs_ip_vs and not chooser.ipvs:
        yield f"IPVS on {chooser.host} made no choice"
