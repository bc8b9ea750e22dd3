"""The choice of an endpoint, with the random source and the time given."""

from __future__ import annotations

from random import Random

from kproxy.backend import Endpoint
from kproxy.relay.choice import Chooser

A, B, C = (Endpoint(f"10.244.{number}.5", 8080) for number in (1, 2, 3))
ALL = (A, B, C)
CLIENT, OTHER = "203.0.113.9", "203.0.113.10"


def test_without_affinity_every_endpoint_has_its_turn() -> None:
    chooser = Chooser(Random(1))
    chosen = [chooser.choose(ALL, CLIENT, 0, 0.0) for _ in range(300)]
    assert all(80 < chosen.count(each) < 120 for each in ALL)


VISITS = [  # at, endpoints -> True if the client must keep its endpoint
    (0.0, ALL, False),
    (10.0, ALL, True),
    (20.0, (A, C), True),  # C is its endpoint
    (29.9, (B, C), True),  # each visit renews it
    (39.9, ALL, True),  # exactly at the time-out
    (49.91, ALL, False),
]


def test_a_client_is_kept_until_it_has_been_away_for_too_long() -> None:
    """Only histories that begin with C are examined; at the end the choice is random again."""
    last = []
    for seed in range(300):
        chooser = Chooser(Random(seed))
        got = []
        for at, endpoints, kept in VISITS:
            got.append(chooser.choose(endpoints, CLIENT, 10, at))
            if got[0] is not C:
                break
            assert not kept or got[-1] is C
        else:
            last.append(got[-1])
    assert len(last) > 60
    assert {*last} == {*ALL}


def test_a_removed_endpoint_is_given_up_for_good() -> None:
    chooser = Chooser(Random(1))
    assert chooser.choose((A,), CLIENT, 10, 0.0) is A
    assert chooser.choose((B,), CLIENT, 10, 1.0) is B
    assert {chooser.choose(ALL, CLIENT, 10, 2.0) for _ in range(50)} == {B}


def test_clients_are_told_apart() -> None:
    chooser = Chooser(Random(1))
    chooser.choose((A,), CLIENT, 10, 0.0)
    chooser.choose((B,), OTHER, 10, 0.0)
    assert [chooser.choose(ALL, each, 10, 1.0) for each in (CLIENT, OTHER)] == [A, B]


def test_clients_of_long_ago_are_forgotten() -> None:
    chooser = Chooser(Random(1))
    for number in range(10_000):
        chooser.choose(ALL, f"client-{number}", 10, number * 0.1)  # 100 within the time-out
    assert len(chooser._chosen) <= 1000
    kept = chooser.choose(ALL, "client-9950", 10, 999.0)
    assert {chooser.choose(ALL, "client-9950", 10, 999.0) for _ in range(50)} == {kept}


def test_one_text_for_all_clients_pins_the_port() -> None:
    """It is pinned before anybody knows whether the endpoint answers."""
    chooser = Chooser(Random(1))
    pinned = chooser.choose(ALL, "", 10, 0.0)
    assert {chooser.choose(ALL, "", 10, float(at)) for at in range(50)} == {pinned}
    assert {chooser.choose(ALL, "", 0, 50.0) for _ in range(50)} == {*ALL}
