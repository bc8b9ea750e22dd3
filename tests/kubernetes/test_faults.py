"""A store is in step with an API server again, whatever goes wrong on the way: HTTP, and TLS."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from kproxy.errors import AccessRefused, BadInput, KernelRefused, KproxyError
from kproxy.kubernetes import connection, reflector
from kproxy.kubernetes.connection import Connection, Stream
from kproxy.kubernetes.credentials import Settings, from_kubeconfig
from kproxy.kubernetes.kubeconfig import read_kubeconfig
from kproxy.kubernetes.resources import ENDPOINT_SLICES, SERVICE_CIDRS, SERVICES
from kproxy.kubernetes.stream import Rejection
from kproxy.proxy.events import Changed, Event, Rejected
from kproxy.sources.api_server import ApiServer
from kproxy.store import Store
from tests.kubernetes.certificates import Authority, Pair
from tests.kubernetes.kubeconfigs import TOKEN, document, write
from tests.kubernetes.mocked import (
    PATIENCE_S,
    Fault,
    Loop,
    Mocked,
    Reply,
    cut,
    refused,
    soon,
    streamed,
)
from tests.kubernetes.served import Served, expired, lines, service, status


class Followed:
    """A store that follows the Services of an API server, and what was said meanwhile."""

    def __init__(self, source: ApiServer) -> None:
        self.source = source
        self.store = Store()
        self.written: list[str] = []  # names of Services that changed, in order
        self.problems: list[str] = []
        self._stopped = threading.Event()
        self._taking = threading.Lock()
        for update in source.read([SERVICES, ENDPOINT_SLICES]):
            self.store.apply(update)
        self.store.take_changes()
        self._thread = threading.Thread(target=source.watch, args=(self._take, self._stopped))
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    @property
    def ports(self) -> dict[str, int]:
        with self._taking:  # `written` has what they come from, too
            found = [self.store.service(key) for key in self.store.services()]
        return {each.metadata.name: each.spec.ports[0].port for each in found if each}

    def becomes(self, ports: dict[str, int]) -> None:
        until(lambda: self.ports == ports, lambda: f"{self.ports} != {ports}")

    def _take(self, event: Event) -> None:
        match event:
            case Changed(update):
                with self._taking:
                    self.store.apply(update)
                    self.written += sorted(name for _, name in self.store.take_changes().services)
            case Rejected(problems):
                self.problems += problems
            case _:
                raise AssertionError(event)


def until(condition: Callable[[], bool], told: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, told()
        time.sleep(0.005)


class Place:
    """Makes followers of a mocked API server, and closes them."""

    def __init__(self, loop: Loop, folder: Path, authority: Authority, pair: Pair | None) -> None:
        self._loop = loop
        self._folder = folder
        self._authority = authority
        self._pair = pair
        self.rejected: list[Rejection] = []

    def mocked(self, *names: str, **served: Any) -> Mocked:
        return Mocked(self._loop, Served(*names, **served), self._pair)

    def configure(self, mocked: Mocked, token: str = TOKEN) -> str:
        cluster = {"server": mocked.url, "certificate-authority": str(self._authority.certificate)}
        return write(self._folder, document(cluster, {"token": token}))

    def source(self, mocked: Mocked) -> ApiServer:
        client = Connection(self.configure(mocked))
        source = ApiServer(client, on_rejected=self.rejected.append)
        mocked.clients.append(source.close)
        return source

    def follow(self, mocked: Mocked) -> Followed:
        followed = Followed(self.source(mocked))
        mocked.clients.append(followed.close)
        return followed


@pytest.fixture(scope="session")
def loop() -> Loop:
    return Loop()


@pytest.fixture(params=["http", "https"])
def place(
    request: pytest.FixtureRequest,
    loop: Loop,
    tmp_path: Path,
    authority: Authority,
    server_pair: Pair,
    monkeypatch: pytest.MonkeyPatch,
) -> Place:
    monkeypatch.setattr(reflector, "FIRST_PAUSE_S", 0.01)
    return Place(loop, tmp_path, authority, server_pair if request.param == "https" else None)


@pytest.fixture
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a program read one kubeconfig for each scheme: it takes longer than most tests here."""
    monkeypatch.setattr(connection, "from_kubeconfig", _read_once)


_SETTINGS: dict[str, Settings] = {}


def _read_once(path: Path, *, master: str = "") -> Settings:
    assert not master
    url = str(read_kubeconfig(path).cluster.server)
    scheme = urlsplit(url).scheme
    if scheme not in _SETTINGS:
        _SETTINGS[scheme] = from_kubeconfig(path)
    return replace(_SETTINGS[scheme], url=url)


def fault(reply: Reply, *, watch: bool = True) -> Fault:
    """Return a fault of the next watch, or of the next list."""
    return lambda _served, query: reply if ("watch" in query) == watch else None


def _whole(served: Served, query: dict[str, str]) -> list[bytes]:
    return served.answer(query).body.splitlines(keepends=True)


def _cut_in_an_event(served: Served, query: dict[str, str]) -> Reply:
    body = served.answer(query).body
    return streamed(body[:-30], cut)


def _cut_after_an_event(served: Served, query: dict[str, str]) -> Reply:
    return streamed(*_whole(served, query), cut)


def _ends_in_an_event(served: Served, query: dict[str, str]) -> Reply:
    return streamed(served.answer(query).body[:-30])


def _slow(served: Served, query: dict[str, str]) -> Reply:
    body = served.answer(query).body
    pieces = [body[at : at + 60] for at in range(0, len(body), 60)]
    return streamed(*(each for piece in pieces for each in (piece, soon)))


def _twice(served: Served, query: dict[str, str]) -> Reply:
    return streamed(*(line for line in _whole(served, query) for _ in range(2)))


def _backwards(served: Served, query: dict[str, str]) -> Reply:
    return streamed(*reversed(_whole(served, query)))


def _garbled(_served: Served, _query: dict[str, str]) -> Reply:
    return streamed(b'{"type": "ADDED", "object"\n')


FAULTS: dict[str, Fault] = {
    "cut in an event": _cut_in_an_event,
    "cut after an event": _cut_after_an_event,
    "ends in an event": _ends_in_an_event,
    "slow": _slow,
    "twice": _twice,
    "backwards": _backwards,
    "garbled": _garbled,
    "410": fault(refused(410, "Gone")),
    "410 in an event": fault(streamed(lines(expired()))),
    "429": fault(refused(429, "TooManyRequests", Retry_After="0.01")),
    "500": fault(refused(500, "InternalError")),
    "500 in an event": fault(
        streamed(lines({"type": "ERROR", "object": status(500, "InternalError", "")}))
    ),
    "503": fault(refused(503, "ServiceUnavailable")),
    "a page of a proxy": fault(streamed(b"<html>\n<h1>Sign in</h1>\n</html>\n")),
}


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize("name", FAULTS)
def test_a_watch_goes_on_after_a_fault(place: Place, name: str) -> None:
    with place.mocked("a", "b", "c") as mocked:
        followed = place.follow(mocked)
        mocked.faults.append(_of_a_watch_with_events(FAULTS[name]))
        mocked.put("a", port=8080)
        followed.becomes({"a": 8080, "b": 80, "c": 80})
        mocked.remove("b")
        mocked.put("d", port=443)
        followed.becomes({"a": 8080, "c": 80, "d": 443})
        assert not mocked.faults
        assert sorted(followed.written) == ["a", "b", "d"], "nothing else is written again"
        assert followed.problems == []


def _of_a_watch_with_events(wanted: Fault) -> Fault:
    """Return a fault of the first watch that has something to bring."""

    def when_changed(served: Served, query: dict[str, str]) -> Reply | None:
        if served.version <= int(query.get("resourceVersion", "0")):
            return None
        return wanted(served, query)

    return when_changed


@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("watch_lists", ["supported", "refused", "failing"])
def test_a_start_succeeds_after_a_fault(place: Place, name: str, watch_lists: str) -> None:
    with place.mocked("a", "b", watch_lists=watch_lists) as mocked:
        mocked.faults.append(FAULTS[name])
        followed = place.follow(mocked)
        # At once, unless the answer said that this is all before it brought them.
        followed.becomes({"a": 80, "b": 80})
        mocked.put("c")
        followed.becomes({"a": 80, "b": 80, "c": 80})


@pytest.mark.parametrize("watch_lists", ["refused", "failing"])
def test_slow_lists_in_pages_whose_token_expires(
    place: Place, watch_lists: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflector, "PAGE_SIZE", 2)

    def later_page(served: Served, query: dict[str, str]) -> Reply | None:
        if "continue" not in query:
            return None
        served.compact()
        return refused(410, "Expired")

    with place.mocked(*"abcde", watch_lists=watch_lists) as mocked:
        mocked.faults += [later_page, _slow]
        followed = place.follow(mocked)
        assert followed.ports == dict.fromkeys("abcde", 80)
        assert [each.get("limit") for each in mocked.queries if "watch" not in each] == [
            "2",
            "2",
            None,
        ]


def test_what_changed_while_the_version_was_lost_is_found(place: Place) -> None:
    with place.mocked("a", "b", "c") as mocked:
        followed = place.follow(mocked)

        def restarted(served: Served, query: dict[str, str]) -> Reply | None:
            if served.version <= int(query.get("resourceVersion", "0")):
                return None
            served.remove("b")
            served.put("d", port=443)
            served.compact()
            return refused(410, "Gone")

        mocked.faults.append(restarted)
        mocked.put("a", port=8080)
        followed.becomes({"a": 8080, "c": 80, "d": 443})
        assert sorted(followed.written) == ["a", "b", "d"]


def test_an_object_that_cannot_be_accepted_is_named_and_its_last_version_kept(
    place: Place,
) -> None:
    with place.mocked("a", "b") as mocked:
        followed = place.follow(mocked)
        mocked.put("a", sessionAffinity="Sometimes")
        mocked.put("b", port=443)
        followed.becomes({"a": 80, "b": 443})
        until(lambda: bool(followed.problems), lambda: "nothing was rejected")
        assert followed.problems[0].startswith("Service shop/a: spec.sessionAffinity: ")
        assert [each.name for each in place.rejected] == ["Service shop/a"]


def test_an_expired_token_ends_a_start_and_is_replaced_while_running(place: Place) -> None:
    with place.mocked("a") as mocked:
        mocked.token = "of another day"
        with pytest.raises(AccessRefused, match="401 Unauthorized"):
            place.follow(mocked)
        mocked.token = TOKEN
        followed = place.follow(mocked)
        mocked.token = f"{TOKEN}-2"
        mocked.put("b")  # ends the watch, whose successor is refused
        until(lambda: followed.source.away_s > 0, lambda: "the API server is not away")
        place.configure(mocked, token=f"{TOKEN}-2")
        mocked.put("c")
        followed.becomes({"a": 80, "b": 80, "c": 80})
        until(lambda: followed.source.away_s == 0, lambda: "the API server is away")


class _Unrenewable(Connection):
    """A connection whose credentials expire for a while, and cannot be renewed."""

    error: KproxyError | None = None

    def stream(self, path: str, query: Mapping[str, str], *, silence_s: float) -> Stream:
        if self.error:
            raise self.error
        return super().stream(path, query, silence_s=silence_s)


@pytest.mark.parametrize(
    "error", [BadInput(["the kubeconfig is wrong now"]), KernelRefused("no memory for a process")]
)
def test_credentials_that_cannot_be_renewed_are_tried_again_while_running(
    place: Place, error: KproxyError
) -> None:
    with place.mocked("a") as mocked:
        client = _Unrenewable(place.configure(mocked))
        followed = Followed(ApiServer(client))
        mocked.clients.append(followed.close)
        client.error = error
        mocked.put("b")  # ends the watch
        until(lambda: followed.source.away_s > 0, lambda: "the API server is not away")
        mocked.put("c")
        client.error = None
        followed.becomes({"a": 80, "b": 80, "c": 80})


def test_a_node_that_does_not_exist(place: Place) -> None:
    with place.mocked() as mocked, pytest.raises(BadInput, match="has no Node node-a"):
        place.source(mocked).node("node-a", wait=False)


def test_a_collection_that_a_role_may_leave_out_holds_up_no_start(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    with place.mocked("a") as mocked:
        source = place.source(mocked)
        (update,) = source.read([SERVICES, SERVICE_CIDRS])
        assert [each.metadata.name for each in update.upserts] == ["a"]
        told = "servicecidrs cannot be read, and count as none: 403 Forbidden, on purpose"
        until(lambda: told in caplog.messages, lambda: "it is not said")
        assert source.away_s == 0


def test_what_no_proxy_reads_is_not_kept(place: Place) -> None:
    metadata = service("a", 1)["metadata"] | {"annotations": {"x": "y" * 5000}}
    with place.mocked() as mocked:
        followed = place.follow(mocked)
        mocked.services.put("a", selector={"app": "a"})
        mocked.services.objects["a"]["metadata"].update(metadata)
        mocked.put("b")
        followed.becomes({"a": 80, "b": 80})
        found = followed.store.service(("shop", "a"))
        assert found
        assert found.metadata.annotations == {}
        assert found.spec.selector == {}
        assert "y" * 5000 in json.dumps(mocked.services.objects["a"])
