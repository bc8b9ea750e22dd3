"""Whoever listens to a lab is told all of it, whenever it begins, and never makes it wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from kproxy.controlplane.plane import Json, Write
from kproxy.ui import telling
from kproxy.ui.telling import Telling, Told


def pod(name: str, kind: str = "Pod") -> Json:
    return {"kind": kind, "metadata": {"name": name, "namespace": "default"}}


def write(name: str, *, gone: bool = False, kind: str = "Pod") -> Write:
    return Write((kind, "default", name), None if gone else pod(name, kind), None, 1)


class Plane:
    """A control plane that writes `meanwhile` while it is being followed."""

    def __init__(self, *documents: Json, meanwhile: tuple[Write, ...] = ()) -> None:
        self._documents, self._meanwhile = documents, meanwhile
        self.listeners: list[Callable[[Write], None]] = []

    def follow(self, listener: Callable[[Write], None]) -> list[Json]:
        self.listeners.append(listener)
        self.write(*self._meanwhile)
        return [*self._documents]

    def write(self, *writes: Write) -> None:
        for each in writes:
            for listener in self.listeners:
                listener(each)


def names(documents: list[Json]) -> list[str]:
    return sorted(each["metadata"]["name"] for each in documents)


def taken(told: Told) -> Iterator[str]:
    while not told.writes.empty():
        yield told.writes.get().key[2]


def test_every_listener_has_all_there_is_and_each_later_write() -> None:
    plane = Plane(pod("a"), pod("secret", "Secret"))
    tells = Telling(plane.follow)
    with tells.listen() as (first, told):
        assert names(first) == ["a"]
        plane.write(write("b"), write("secret", kind="Secret"), write("a", gone=True))
        assert [*taken(told)] == ["b", "a"]
        with tells.listen() as (second, later):
            assert names(second) == ["b"]
            plane.write(write("c"))
            assert ([*taken(told)], [*taken(later)]) == (["c"], ["c"])
    assert len(plane.listeners) == 1


def test_what_is_written_while_it_begins_is_not_lost() -> None:
    plane = Plane(pod("a"), pod("b"), meanwhile=(write("a", gone=True), write("c")))
    with Telling(plane.follow).listen() as (documents, _):
        assert names(documents) == ["b", "c"]


def test_who_has_gone_is_told_nothing() -> None:
    plane = Plane()
    tells = Telling(plane.follow)
    with tells.listen() as (_, told):
        pass
    plane.write(write("a"))
    assert [*taken(told)] == []


def test_who_is_too_late_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_MOST_WAITING", 2)
    plane = Plane()
    with Telling(plane.follow).listen() as (_, told):
        plane.write(write("a"), write("b"))
        assert not told.lost
        plane.write(write("c"))
        assert told.lost
        assert [*taken(told)] == ["a", "b"]
