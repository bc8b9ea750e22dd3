"""kproxy's own source of objects reads the API: both were made after the same server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from kproxy.api.types import Service
from kproxy.kubernetes.connection import Connection
from kproxy.kubernetes.resources import ENDPOINT_SLICES, SERVICE_CIDRS, SERVICES
from kproxy.proxy.events import Changed, Event
from kproxy.sources.api_server import ApiServer
from kproxy.store import Update
from tests.apiserver.asking import labelled, service, services
from tests.apiserver.served import PATIENCE_S, Served


@pytest.fixture
def source(served: Served, tmp_path: Path) -> Iterator[ApiServer]:
    connection = Connection(str(served.kubeconfig(tmp_path)))
    source = ApiServer(connection)
    yield source
    served.server.close()  # before, so that no watch has to be waited for
    source.close()
    connection.close()


def names(update: Update) -> set[str]:
    return {each.metadata.name for each in update.upserts if isinstance(each, Service)}


def test_what_there_is_is_read_and_then_followed(served: Served, source: ApiServer) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}}
    served.plane.create(node)
    for each in services(["a", "b"]):
        served.plane.create(each)
    served.plane.create(service("headless", clusterIP="None", clusterIPs=["None"]))
    foreign = {"service.kubernetes.io/service-proxy-name": "other"}
    served.plane.create(labelled(service("foreign"), **foreign))
    assert source.node("node-a").metadata.name == "node-a"
    updates = source.read([SERVICES, ENDPOINT_SLICES, SERVICE_CIDRS])
    assert set().union(*map(names, updates)) == {"a", "b"}
    heard: SimpleQueue[Event] = SimpleQueue()
    stopped = threading.Event()
    watching = threading.Thread(target=source.watch, args=(heard.put, stopped))
    watching.start()
    served.plane.create(service("c"))
    event = heard.get(timeout=PATIENCE_S)
    assert isinstance(event, Changed)
    assert names(event.update) == {"c"}
    served.plane.delete(("Service", "default", "a"))
    event = heard.get(timeout=PATIENCE_S)
    assert isinstance(event, Changed)
    assert event.update.deletes == (("Service", "default", "a"),)
    served.server.close()
    stopped.set()
    watching.join(PATIENCE_S)
