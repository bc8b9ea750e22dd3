"""A cluster whose Services are replaced by others at once."""

from __future__ import annotations

from functools import partial

import pytest

from kproxy.api.types import Service
from kproxy.errors import BadInput
from tests.controlplane.played import NOW, Played, service

SERVICE = ("Service", "default", "web")
holding = partial(
    service, clusterIP="10.96.0.7", type="NodePort", ports=[{"port": 1, "nodePort": 30100}]
)


def is_taken(played: Played) -> bool:
    try:
        played.cluster.apply([holding("another")])
    except BadInput:
        return True
    return False


def test_what_one_service_holds_becomes_another_ones() -> None:
    played = Played(holding())
    played.cluster.replace([holding("x")], [SERVICE], NOW)
    played.settle()
    assert [each.metadata.name for each in played.cluster.objects(Service)] == ["x"]
    assert is_taken(played)


def test_if_it_cannot_nothing_is_lost() -> None:
    played = Played(holding())
    before = played.cluster.objects(Service)
    with pytest.raises(BadInput):
        played.cluster.replace(
            [holding("x"), service("bad", clusterIP="192.0.2.1")], [SERVICE], NOW
        )
    assert played.cluster.objects(Service) == before
    assert is_taken(played)


def test_refusals_are_told_and_change_nothing() -> None:
    played = Played(service())
    before = played.cluster.objects(Service)
    (told,) = played.cluster.refusals([holding("x"), service("bad", clusterIP="192.0.2.1")])
    assert told.startswith('Service "bad" is invalid: spec.clusterIPs: ')
    assert played.cluster.refusals([holding("x"), service("y")]) == []
    assert played.cluster.objects(Service) == before
    assert not is_taken(played)
