"""Many clients at once: no update is lost, watches tell all in order, pages are of one time."""

from __future__ import annotations

import json
import random
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPSConnection
from threading import Event
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import pytest

from netns_tests.up.machine import private_machine

MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
WRITERS, WATCHERS, EACH, KEPT = 6, 4, 40, 10

Json = dict[str, Any]


class Client:
    """One connection to the API of a lab, a context manager."""

    def __init__(self, address: str, context: ssl.SSLContext, headers: Mapping[str, str]) -> None:
        self._way = address, context, headers
        self._headers = headers
        self._connection = HTTPSConnection(address, context=context, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def another(self) -> Client:
        return Client(*self._way)

    def ask(self, method: str, path: str, body: object = None, kind: str = "") -> tuple[int, Json]:
        headers = {**self._headers, "Content-Type": kind or "application/json"}
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, headers)
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())

    def watch(self, version: str) -> Iterator[Json]:
        query = urlencode({"watch": 1, "resourceVersion": version})
        self._connection.request("GET", f"{MAPS}?{query}", headers=self._headers)
        for line in self._connection.getresponse():
            yield json.loads(line)

    def pages(self, limit: int) -> Iterator[Json]:
        """Yield the pages of one list."""
        token = ""
        while True:
            query = urlencode({"limit": limit, **({"continue": token} if token else {})})
            status, page = self.ask("GET", f"{MAPS}?{query}")
            assert status == 200, page
            yield page
            token = page["metadata"].get("continue", "")
            if not token:
                return


def config_map(name: str, **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def side_by_side(client: Client, count: int, work: Callable[[Client, int], Any]) -> list[Any]:
    def alone(number: int) -> Any:
        with client.another() as own:
            return work(own, number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(alone, range(count)))


def by_name(documents: Iterable[Json]) -> dict[str, Json]:
    """Return what lists and watches tell alike: items of a list do not have their kind."""
    return {
        each["metadata"]["name"]: {key: each.get(key) for key in ("metadata", "data")}
        for each in documents
    }


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with private_machine() as machine:
        machine.ok("up", "--nodes", "1", "--proxy", "none")
        config = json.loads(machine.ok("kubeconfig"))
        address = urlsplit(config["clusters"][0]["cluster"]["server"]).netloc
        authority = machine.run("cat", "/run/kproxy/lab/ca.crt").stdout
        headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
        with Client(address, ssl.create_default_context(cadata=authority), headers) as found:
            yield found


def test_no_update_of_many_writers_is_lost(client: Client) -> None:
    client.ask("POST", MAPS, config_map("counter", n="0"))

    def count(own: Client, _: int) -> int:
        conflicts = 0
        for _ in range(EACH):
            while True:
                _, document = own.ask("GET", f"{MAPS}/counter")
                document["data"]["n"] = str(int(document["data"]["n"]) + 1)
                status, said = own.ask("PUT", f"{MAPS}/counter", document)
                if status == 200:
                    break
                assert (status, said["reason"]) == (409, "Conflict")
                conflicts += 1
        return conflicts

    assert sum(side_by_side(client, WRITERS, count)) > 0
    assert client.ask("GET", f"{MAPS}/counter")[1]["data"]["n"] == str(WRITERS * EACH)


def test_patches_of_many_writers_add_up(client: Client) -> None:
    client.ask("POST", MAPS, config_map("shared"))

    def patch(own: Client, number: int) -> None:
        for turn in range(EACH):
            fields = {"data": {f"merged-{number}-{turn}": "x"}}
            assert own.ask("PATCH", f"{MAPS}/shared", fields, MERGE)[0] == 200
            query = f"fieldManager=m{number}"
            applied = config_map("shared", **{f"applied-{number}": str(turn)})
            assert own.ask("PATCH", f"{MAPS}/shared?{query}", applied, APPLY)[0] == 200

    side_by_side(client, WRITERS, patch)
    data = client.ask("GET", f"{MAPS}/shared")[1]["data"]
    assert len(data) == WRITERS * (EACH + 1)
    assert {data[f"applied-{number}"] for number in range(WRITERS)} == {str(EACH - 1)}


def test_watches_and_pages_while_others_write(client: Client) -> None:
    for number in range(KEPT):
        client.ask("POST", MAPS, config_map(f"kept-{number}"))
    before = client.ask("GET", MAPS)[1]
    done = Event()

    def watched(own: Client, _: int) -> dict[str, Json]:
        found = {each["metadata"]["name"]: each for each in before["items"]}
        last = int(before["metadata"]["resourceVersion"])
        for event in own.watch(before["metadata"]["resourceVersion"]):
            document = event["object"]
            name, version = (
                document["metadata"]["name"],
                int(document["metadata"]["resourceVersion"]),
            )
            assert version > last
            assert (event["type"] == "ADDED") is (name not in found)
            last = version
            found[name] = document
            if event["type"] == "DELETED":
                del found[name]
            if name == "end":
                return found
        raise AssertionError("the watch has ended")

    def paged(own: Client, _: int) -> int:
        lists = 0
        while not done.is_set() or not lists:
            pages = list(own.pages(7))
            assert len({page["metadata"]["resourceVersion"] for page in pages}) == 1
            items = [each for page in pages for each in page["items"]]
            names = [each["metadata"]["name"] for each in items]
            assert names == sorted(set(names))
            assert sum(name.startswith("kept-") for name in names) == KEPT
            version = int(pages[0]["metadata"]["resourceVersion"])
            assert all(int(each["metadata"]["resourceVersion"]) <= version for each in items)
            lists += 1
        return lists

    def write(own: Client, number: int) -> None:
        chosen = random.Random(number)
        for turn in range(2 * EACH):
            name = f"changing-{chosen.randrange(20)}"
            match chosen.choice(("POST", "PATCH", "DELETE")):
                case "POST":
                    own.ask("POST", MAPS, config_map(name, turn=str(turn)))
                case "PATCH":
                    own.ask("PATCH", f"{MAPS}/{name}", {"data": {str(number): str(turn)}}, MERGE)
                case "DELETE":
                    own.ask("DELETE", f"{MAPS}/{name}")

    with ThreadPoolExecutor(2) as pool:
        watching = pool.submit(side_by_side, client, WATCHERS, watched)
        paging = pool.submit(side_by_side, client, 1, paged)
        try:
            side_by_side(client, WRITERS, write)
        finally:
            done.set()
            client.ask("POST", MAPS, config_map("end"))
        after = by_name(client.ask("GET", MAPS)[1]["items"])
        assert all(by_name(found.values()) == after for found in watching.result())
        assert paging.result() > [0]
