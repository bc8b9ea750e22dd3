"""A connection ends like a probe only if both were seen in the same places, and it is final."""

from __future__ import annotations

import errno

import pytest

from kproxy.outcome import Connection, How, Observation, Outcome
from kproxy.probe.following import concluded
from kproxy.probe.journey import Journey, Seen
from kproxy.probe.packets import Role, Sighting

V4, V6 = "10.96.0.10", "fd00:10:96::a"
OUT, IN = True, False
Place = tuple[str, bool, int, Role, How | None]
ASKS: list[Place] = [
    ("client", OUT, 64, Role.REQUEST, None),
    ("node-a", IN, 64, Role.REQUEST, None),
]
ON: list[Place] = [
    ("node-a", OUT, 63, Role.REQUEST, None),
    ("web", IN, 63, Role.REQUEST, None),
]
ANSWER: list[Place] = [("web", OUT, 64, Role.ANSWER, None), ("node-a", IN, 64, Role.ANSWER, None)]


def refused(how: How) -> list[Place]:
    return [("node-a", OUT, 64, Role.REFUSAL, how), ("client", IN, 64, Role.REFUSAL, how)]


def sightings(places: list[Place], tag: int) -> tuple[Seen, ...]:
    """Return sightings one after the other. Every packet has its own port, the tag."""
    return tuple(
        Seen(
            host,
            outgoing,
            Sighting(
                tag=tag,
                role=role,
                source="192.0.2.1",
                destination=V4,
                source_port=tag,
                hop_limit=hop_limit,
                how=how,
            ),
            "eth0",
            time_ns=tag * 100 + number,
        )
        for number, (host, outgoing, hop_limit, role, how) in enumerate(places)
    )


LOST = Observation.dropped("node-a")
UNHEARD = Observation.delivered("web", "192.0.2.1", answered=False)
TIMED_OUT = Connection(outcome=Outcome.TIMEOUT)
REFUSED = Connection(outcome=Outcome.REFUSED)
CONCLUDED = [  # the probe's places and its outcome, the connection's places -> its end
    (ASKS, LOST, ASKS, TIMED_OUT),
    (ASKS, LOST, [*ASKS, *ASKS], TIMED_OUT),  # a second SYN, seen in the same places
    ([*ASKS, *ON, *ANSWER], UNHEARD, [*ASKS, *ON, *ANSWER], TIMED_OUT),
    (ASKS, LOST, ASKS[:1], None),
    (ASKS, LOST, [*ASKS, *ON], None),
    (ASKS, LOST, [], None),  # not seen at all
    ([*ASKS, *ON, *ANSWER], UNHEARD, [*ASKS, *ON], None),
    (ASKS, LOST, [*ASKS, *refused(How.PORT_UNREACHABLE)], None),
    # refused, but the client did not hear it: perhaps the next one
    ([*ASKS, *refused(How.RST)[:1]], LOST, [*ASKS, *refused(How.RST)[:1]], None),
    ([*ASKS, *ON, *ANSWER], Observation.delivered("web", V4), [*ASKS, *ON, *ANSWER], None),
]


@pytest.mark.parametrize(("probed", "observed", "connected", "end"), CONCLUDED)
def test_a_connection_is_lost_like_a_probe(
    probed: list[Place], observed: Observation, connected: list[Place], end: Connection | None
) -> None:
    probe = Journey(8, "192.0.2.1", 20001, sightings(probed, 8), observed)
    assert concluded(sightings(connected, 16), probe, V4) == end


@pytest.mark.parametrize(
    ("how", "address", "code"),
    [
        (How.PORT_UNREACHABLE, V4, errno.ECONNREFUSED),
        (How.PORT_UNREACHABLE, V6, errno.ECONNREFUSED),
        (How.PROHIBITED, V4, errno.EHOSTUNREACH),
        (How.PROHIBITED, V6, errno.EACCES),
        (How.NET_UNREACHABLE, V4, None),  # of routing, which refuses only some packets
        (How.HOST_UNREACHABLE, V6, None),
        (How.RST, V4, None),  # the kernel takes it at once
    ],
)
def test_a_refusal_by_a_rule_is_the_end(how: How, address: str, code: int | None) -> None:
    places = [*ASKS, *refused(how)]
    probe = Journey(8, "192.0.2.1", 20001, sightings(places, 8), Observation.refused("node-a", how))
    found = concluded(sightings(places, 16), probe, address)
    assert found == (REFUSED if code else None)
    assert found is None or found.errno == code
