"""The verb watch, event by event."""

from __future__ import annotations

from typing import Any

import pytest

from kproxy.apiserver import read_model, watch
from kproxy.apiserver.core import ApiServer
from kproxy.apiserver.rendering import Rendering
from kproxy.apiserver.request import Request, Watch
from tests.apiserver.asking import PARTIAL, SERVICES, TABLE, USER, Api, labelled, service, services
from tests.apiserver.memory_plane import MemoryPlane

NOT_OLDER = {"resourceVersionMatch": "NotOlderThan"}
INITIAL = {"sendInitialEvents": "true", **NOT_OLDER}
END = {"k8s.io/initial-events-end": "true"}


def test_without_a_version_it_begins_with_what_there_is() -> None:
    api = Api(*services(["a", "b"]))
    watching = api.watch(SERVICES)
    assert watching.told() == [("ADDED", "a"), ("ADDED", "b")]
    api.answer("DELETE", f"{SERVICES}/a")
    assert watching.told() == [("DELETED", "a")]


def test_from_a_version_it_goes_on_after_it() -> None:
    api = Api(service("a"))
    api.answer("POST", SERVICES, service("b"))
    watching = api.watch(SERVICES, resourceVersion="1")
    assert watching.told() == [("ADDED", "b")]
    api.answer("PUT", f"{SERVICES}/a", labelled(service("a"), x="y"))
    assert watching.told() == [("MODIFIED", "a")]


def test_what_a_selector_no_longer_means_is_deleted_as_it_was() -> None:
    api = Api(labelled(service("a"), x="y"), service("b"))
    watching = api.watch(SERVICES, labelSelector="x=y", resourceVersion="2")
    api.answer("PUT", f"{SERVICES}/b", labelled(service("b"), x="y"))
    api.answer("PUT", f"{SERVICES}/a", service("a"))
    api.answer("PUT", f"{SERVICES}/a", labelled(service("a"), x="z"))
    added, deleted = watching.events()
    assert (added["type"], added["object"]["metadata"]["name"]) == ("ADDED", "b")
    assert deleted["type"] == "DELETED"
    assert deleted["object"]["metadata"]["labels"] == {"x": "y"}
    assert deleted["object"]["metadata"]["resourceVersion"] == "4"


def test_a_deleted_object_bears_the_version_of_its_deletion() -> None:
    api = Api(service("a"))
    watching = api.watch(SERVICES, resourceVersion="1")
    api.answer("DELETE", f"{SERVICES}/a")
    assert watching.events()[0]["object"]["metadata"]["resourceVersion"] == "2"


def test_only_one_namespace() -> None:
    api = Api()
    watching = api.watch("/api/v1/namespaces/other/services")
    api.answer("POST", SERVICES, service("a"))
    assert watching.told() == []


def test_one_object_by_its_path() -> None:
    api = Api(*services(["a", "b"]))
    assert api.watch(f"{SERVICES}/a").told() == [("ADDED", "a")]
    assert api.watch("/api/v1/watch/namespaces/default/services/b").told() == [("ADDED", "b")]


def test_a_watch_list_ends_its_initial_events_with_a_bookmark() -> None:
    api = Api(service("a"))
    watching = api.watch(SERVICES, allowWatchBookmarks="true", query=INITIAL)
    first, mark = watching.events()
    assert first["type"] == "ADDED"
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == END
    assert mark["object"]["metadata"]["resourceVersion"] == "1"
    api.answer("POST", SERVICES, service("b"))
    assert watching.told() == [("ADDED", "b")]


def test_without_bookmarks_a_watch_list_has_no_mark() -> None:
    assert Api(service("a")).watch(SERVICES, query=INITIAL).told() == [("ADDED", "a")]


def test_a_watch_list_that_wants_no_initial_events() -> None:
    api = Api(service("a"))
    watching = api.watch(SERVICES, sendInitialEvents="false", query=NOT_OLDER)
    assert watching.told() == []


def test_a_watch_list_names_how_versions_match() -> None:
    answered = Api().answer("GET", SERVICES, watch="true", sendInitialEvents="true")
    assert answered.status == 422
    assert answered.body["message"] == (
        'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents'
        " requires setting resourceVersionMatch to NotOlderThan"
    )


def test_a_bookmark() -> None:
    api = Api(service("a"))
    watching = api.watch(SERVICES, allowWatchBookmarks="true", resourceVersion="1")
    watching.watcher.mark(7)
    [event] = watching.events()
    assert event["type"] == "BOOKMARK"
    assert event["object"]["kind"] == "Service"
    assert event["object"]["metadata"]["resourceVersion"] == "7"
    silent = api.watch(SERVICES, resourceVersion="1")
    silent.watcher.mark(7)
    assert silent.events() == []


def test_a_version_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_model, "MOST_WRITES", 4)
    api = Api()
    for name in "abcdefgh":
        api.answer("POST", SERVICES, service(name))
    watching = api.watch(SERVICES, resourceVersion="1")
    [event] = watching.events()
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert event["object"]["message"] == "too old resource version: 1 (4)"
    assert watching.watcher.ended


def test_of_renewals_fewer_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_model, "MOST_RENEWALS", 4)
    api = Api()
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    for name in "abcdefgh":
        api.answer("POST", leases, {"metadata": {"name": name}})
        api.answer("POST", SERVICES, service(name))
    [event] = api.watch(leases, resourceVersion="2").events()
    assert event["object"]["reason"] == "Expired"
    assert len(api.watch(SERVICES, resourceVersion="2").events()) == 7


def test_a_version_before_the_start_is_too_old() -> None:
    api = Api(*services(["a", "b"]))
    assert api.watch(SERVICES, resourceVersion="1").events()[0]["object"]["code"] == 410


def test_a_version_of_the_future() -> None:
    [event] = Api().watch(SERVICES, resourceVersion="9").events()
    assert (event["type"], event["object"]["code"]) == ("ERROR", 504)


def test_rows_of_a_table_have_their_columns_once() -> None:
    api = Api(service("a"))
    watching = api.watch(SERVICES, accept=TABLE)
    [first] = watching.events()
    assert first["object"]["kind"] == "Table"
    assert len(first["object"]["columnDefinitions"]) == 7
    assert first["object"]["rows"][0]["cells"][0] == "a"
    api.answer("POST", SERVICES, service("b"))
    [second] = watching.events()
    assert second["object"]["columnDefinitions"] is None
    assert second["object"]["rows"][0]["cells"][0] == "b"


def test_metadata_alone() -> None:
    [event] = Api(service("a")).watch(SERVICES, accept=PARTIAL).events()
    assert event["object"]["kind"] == "PartialObjectMetadata"


@pytest.mark.parametrize("accept", ["application/json", TABLE, PARTIAL])
def test_many_watchers_share_the_text_of_an_event(
    accept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    line = Rendering.line

    def counted(self: Rendering, *arguments: Any) -> bytes:
        made.append(arguments)
        return line(self, *arguments)

    monkeypatch.setattr(Rendering, "line", counted)
    api = Api()
    watching = [api.watch(SERVICES, accept=accept) for _ in range(3)]
    api.answer("POST", SERVICES, service("a"))
    one, two, three = (each.events() for each in watching)
    assert one == two == three
    assert len(made) == 1


def test_a_watcher_that_never_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MOST_WAITING_BYTES", 2000)
    api = Api()
    slow, quick = api.watch(SERVICES), api.watch(SERVICES)
    for number in range(20):
        api.answer("POST", SERVICES, service(f"s{number}"))
        quick.events()
    assert slow.watcher.dropped
    assert slow.watcher.take() == b""
    assert not quick.watcher.dropped
    assert len(api.core._model.collection("Service").listeners) == 1


def test_a_watch_that_has_ended_is_told_nothing() -> None:
    api = Api()
    watching = api.watch(SERVICES)
    watching.watcher.close()
    api.answer("POST", SERVICES, service("a"))
    assert watching.events() == []


def test_a_large_beginning_comes_in_pieces() -> None:
    api = Api(*services([f"s{number:04}" for number in range(1000)]))
    watcher = api.watch(SERVICES).watcher
    pieces = []
    while piece := watcher.take():
        pieces.append(len(piece))
    assert len(pieces) > 2
    assert max(pieces) < 150_000


def test_a_write_wakes_the_server_only_if_somebody_waits_for_it() -> None:
    woken: list[None] = []
    plane = MemoryPlane()
    core = ApiServer(plane, clock=plane.clock, wake=lambda: woken.append(None))
    plane.create(service("a"))
    assert not woken
    query = (("watch", "true"),)
    watching = core.handle(Request(method="GET", path=SERVICES, query=query, user=USER))
    assert isinstance(watching, Watch)
    plane.create(service("b"))
    assert len(woken) == 1
    core.catch_up()
    config_map = {"apiVersion": "v1", "kind": "ConfigMap"}
    for number in range(read_model.MOST_KEPT - 1):
        plane.create({**config_map, "metadata": {"name": f"c-{number}"}})
    assert len(woken) == 1
    plane.create({**config_map, "metadata": {"name": "last"}})
    assert len(woken) == 2


def test_what_is_written_while_a_watch_begins_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(service("a"))
    begin = watch.Watcher.follow

    def write_and_follow(*arguments: Any) -> None:
        api.plane.create(service("b"))  # by another thread: nobody watches yet
        begin(*arguments)

    monkeypatch.setattr(watch.Watcher, "follow", write_and_follow)
    watching = api.watch(SERVICES)
    text = b"".join(iter(watching.watcher.take, b""))
    assert [b'"name":"b"' in line for line in text.splitlines()] == [False, True]
