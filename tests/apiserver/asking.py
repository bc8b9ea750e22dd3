"""Asks the core of the API, and reads its answers, without a socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import urlencode

from msgspec.json import decode, encode

from kproxy.apiserver.core import ApiServer
from kproxy.apiserver.request import Answer, Outcome, Request, User, Watch, Work, query_of
from kproxy.controlplane.plane import Json
from tests.apiserver.memory_plane import START, MemoryPlane

TOKEN = "of-the-teacher"
USER = User("teacher", ("system:authenticated",))
SERVICES = "/api/v1/namespaces/default/services"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


class Answered(NamedTuple):
    """An answer, its body decoded if it is JSON."""

    status: int
    body: Json
    headers: tuple[tuple[str, str], ...]
    content_type: str
    text: bytes

    @property
    def names(self) -> list[str]:
        return [each["metadata"]["name"] for each in self.body["items"]]

    @property
    def version(self) -> str:
        return str(self.body["metadata"]["resourceVersion"])

    @property
    def warnings(self) -> list[str]:
        return [value for name, value in self.headers if name == "Warning"]


class Api:
    """A core over a control plane of documents; it is a minute after START."""

    def __init__(self, *documents: Json) -> None:
        self.plane = MemoryPlane(documents)
        self.core = ApiServer(
            self.plane,
            clock=lambda: START + timedelta(minutes=1),
            identify=lambda token: USER if token == TOKEN else None,
        )

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        user: User | None = USER,
        accept: str = "application/json",
        content_type: str = "application/json",
        query: Mapping[str, str] = {},
        headers: Mapping[str, str] = {},
    ) -> Outcome:
        path, _, given = path.partition("?")
        usual = {"accept": accept, "content-type": content_type, "user-agent": "tests/1"}
        request = Request(
            method=method,
            path=path,
            query=query_of(given or urlencode(query)),
            headers={**usual, **headers},
            body=body if isinstance(body, bytes) else b"" if body is None else encode(body),
            user=user,
        )
        outcome = self.core.handle(request)
        return outcome.run() if isinstance(outcome, Work) else outcome

    def answer(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        user: User | None = USER,
        accept: str = "application/json",
        content_type: str = "application/json",
        query: Mapping[str, str] = {},
        **more: str,
    ) -> Answered:
        answer = self.ask(
            method,
            path,
            body,
            user=user,
            accept=accept,
            content_type=content_type,
            query={**query, **more},
        )
        assert isinstance(answer, Answer)
        is_json = answer.content_type.startswith("application/json") and answer.body
        document = decode(answer.body) if is_json else {}
        return Answered(answer.status, document, answer.headers, answer.content_type, answer.body)

    def get(
        self,
        path: str,
        *,
        accept: str = "application/json",
        query: Mapping[str, str] = {},
        **more: str,
    ) -> Answered:
        return self.answer("GET", path, accept=accept, query={**query, **more})

    def watch(
        self,
        path: str,
        *,
        accept: str = "application/json",
        query: Mapping[str, str] = {},
        **more: str,
    ) -> Watching:
        asked = {"watch": "true", **query, **more}
        outcome = self.ask("GET", path, accept=accept, query=asked)
        assert isinstance(outcome, Watch)
        return Watching(self, outcome)


class Watching:
    """An open watch."""

    def __init__(self, api: Api, watch: Watch) -> None:
        self._api = api
        self.watch = watch
        self.watcher = watch.watcher

    def events(self) -> list[Json]:
        """Return the events since the last call."""
        self._api.core.catch_up()
        text = b""
        while piece := self.watcher.take():
            text += piece
        return [decode(line) for line in text.splitlines()]

    def told(self) -> list[tuple[str, str]]:
        """Return type and name of each event since the last call."""
        return [(each["type"], each["object"]["metadata"]["name"]) for each in self.events()]


def service(name: str, **spec: object) -> Json:
    """Return a Service of the namespace default."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "type": "ClusterIP"}
        | {"ports": [{"port": 80, "protocol": "TCP"}]}
        | spec,
    }


def labelled(document: Json, **labels: str) -> Json:
    return {**document, "metadata": {**document["metadata"], "labels": labels}}


def services(names: Sequence[str]) -> list[Json]:
    return [service(name) for name in names]


def deployment(replicas: int = 2) -> Json:
    container = {"name": "web", "image": "nginx"}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template,
        },
    }
