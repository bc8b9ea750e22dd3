"""The requests of kube-proxy v1.36 when it starts, as recorded, asked from a node."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from netns_tests.clients.served import Served
from netns_tests.up.machine import KPROXY

_LIST = (
    "?allowWatchBookmarks=true{}&resourceVersionMatch=NotOlderThan&sendInitialEvents=true"
    "&timeout=9m30s&timeoutSeconds=570&watch=true"
)
REQUESTS = [  # in this order; the first one is answered before the others are asked
    "/api/v1/nodes" + _LIST.format("&fieldSelector=metadata.name%3Dnode-a"),
    "/api/v1/services"
    + _LIST.format(
        "&fieldSelector=spec.clusterIP%21%3DNone"
        "&labelSelector=%21service.kubernetes.io%2Fservice-proxy-name"
    ),
    "/apis/discovery.k8s.io/v1/endpointslices"
    + _LIST.format("&labelSelector=%21service.kubernetes.io%2Fheadless"),
    "/apis/networking.k8s.io/v1/servicecidrs" + _LIST.format(""),
]
# For each request prints a line of JSON: status, content type, and all events up to the bookmark.
_PROGRAM = """\
import base64, http.client, json, os, ssl, sys
values = json.load(open(os.environ["KUBECONFIG"]))
(cluster,), (user,) = values["clusters"], values["users"]
trusted = ssl.create_default_context(
    cadata=base64.b64decode(cluster["cluster"]["certificate-authority-data"]).decode())
headers = {
    "Accept": "application/vnd.kubernetes.protobuf, */*",
    "Accept-Encoding": "gzip",
    "Authorization": "Bearer " + user["user"]["token"],
    "User-Agent": "kube-proxy/v1.36.2 (linux/amd64)",
}
def connect():
    place = cluster["cluster"]["server"].removeprefix("https://")
    return http.client.HTTPSConnection(place, context=trusted, timeout=20)
for path in sys.argv[1:]:
    connection = connect()
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    events = []
    while not events or events[-1]["type"] != "BOOKMARK":
        events.append(json.loads(answer.readline()))
    print(json.dumps([answer.status, answer.headers["Content-Type"], events]))
connection = connect()
sent = headers | {"Content-Type": "application/vnd.kubernetes.protobuf"}
event = base64.b64decode(sys.stdin.read())
connection.request("POST", "/apis/events.k8s.io/v1/namespaces/default/events", event, sent)
print(connection.getresponse().status)
"""
MANIFEST = """\
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: of-another, labels: {service.kubernetes.io/service-proxy-name: another}}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""


def field(number: int, value: bytes | str | int) -> bytes:
    """Return a field of a protobuf message, of up to 127 bytes or a number of up to 2**35."""
    if isinstance(value, int):
        low = [value >> shift & 0x7F | 0x80 for shift in range(0, 28, 7)]
        return bytes([number << 3, *low, value >> 28])
    data = value.encode() if isinstance(value, str) else value
    assert len(data) < 1 << 14
    return bytes([number << 3 | 2, len(data) & 0x7F | 0x80, len(data) >> 7]) + data


def started() -> bytes:
    """Return the Event that kube-proxy sends when it starts, in protobuf.

    Source: k8s.io/api/events/v1 generated.proto
    """
    node = field(1, "Node") + field(3, "node-a") + field(4, "node-a")
    event = [
        field(1, field(1, "node-a.started") + field(3, "default")),
        field(2, field(1, 1_790_000_000) + field(2, 5000)),
        field(4, "kube-proxy"),
        field(5, "kube-proxy-node-a"),
        field(6, "StartKubeProxy"),
        field(7, "Starting"),
        field(8, node),
        field(11, "Normal"),
    ]
    kind = field(1, "events.k8s.io/v1") + field(2, "Event")
    return b"k8s\0" + field(1, kind) + field(2, b"".join(event))


def names(events: list[dict[str, Any]]) -> set[str]:
    return {each["object"]["metadata"]["name"] for each in events if each["type"] == "ADDED"}


def test_what_it_asks_when_it_starts(lab: Served, tmp_path: Path) -> None:
    """It is told all there is that it wants, and the end of that; JSON will do."""
    path = tmp_path / "services.yaml"
    path.write_text(MANIFEST)
    lab.machine.ok("apply", "-f", str(path))
    done = subprocess.run(
        lab.machine.argv(
            *KPROXY, "shell", "node-a", "--", sys.executable, "-c", _PROGRAM, *REQUESTS
        ),
        input=base64.b64encode(started()),
        stdout=subprocess.PIPE,
        check=True,
    )
    *answers, event = map(json.loads, done.stdout.splitlines())
    assert [each[:2] for each in answers] == [[200, "application/json"]] * len(REQUESTS)
    nodes, services, slices, cidrs = (each[2] for each in answers)
    assert names(nodes) == {"node-a"}
    assert {"web", "kubernetes", "of-another", "headless"} & names(services) == {
        "web",
        "kubernetes",
    }
    assert not [each for each in names(slices) if each.startswith("headless")]
    assert [each for each in names(slices) if each.startswith("web")]
    assert names(cidrs) == {"kubernetes"}
    for events in (nodes, services, slices, cidrs):
        end = events[-1]["object"]["metadata"]
        assert end["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert int(end["resourceVersion"])
    assert event == 201
    (told,) = (
        each
        for each in json.loads(lab.machine.ok("get", "events", "-o", "json"))["items"]
        if each["metadata"]["name"] == "node-a.started"
    )
    assert (told["reason"], told["action"]) == ("Starting", "StartKubeProxy")
    lab.machine.ok("delete", "-f", str(path))
