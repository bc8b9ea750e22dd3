"""`kproxy run` answers at health check node ports as long as it runs."""

from __future__ import annotations

import http.client
import json
import signal
from pathlib import Path

import pytest

from kproxy.kernel.process import run
from netns_tests.run.running import Place, until

MANIFEST = """
apiVersion: v1
kind: Service
metadata: {{name: shop, namespace: default}}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  healthCheckNodePort: {port}
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1]
  ipFamilies: [IPv4]
  ports: [{{name: http, port: 80, nodePort: 30080, protocol: TCP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: shop-1
  namespace: default
  labels: {{kubernetes.io/service-name: shop}}
addressType: IPv4
endpoints:
- {{addresses: [10.244.1.5], nodeName: {node}}}
ports: [{{name: http, port: 8080, protocol: TCP}}]
"""


@pytest.fixture
def here(place: Place) -> Place:
    place.namespace.run(lambda: run(["ip", "link", "set", "lo", "up"]))
    return place


def write(place: Place, node: str = "node-a", port: int = 32000) -> Path:
    return place.write("shop.yaml", MANIFEST.format(node=node, port=port))


def ask(place: Place, port: int = 32000) -> tuple[int, int]:
    """Return status and count; (0, 0) if no process listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        place.namespace.run(connection.connect)
    except ConnectionRefusedError:
        return 0, 0
    connection.request("GET", "/")
    response = connection.getresponse()
    count = json.loads(response.read())["localEndpoints"]
    connection.close()
    return response.status, count


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_from_the_first_sync_to_the_signal(here: Place, number: signal.Signals) -> None:
    running = here.start("--manifests", str(write(here)))
    assert ask(here) == (200, 1)
    write(here, node="node-b")
    until("no local endpoint", lambda: ask(here) == (503, 0))
    write(here, port=32001)
    until("another port", lambda: ask(here, 32001) == (200, 1))
    assert ask(here) == (0, 0)
    (here.folder / "shop.yaml").write_text("")  # a rejection: the last good version stays
    running.says("rejection")
    assert ask(here, 32001) == (200, 1)
    assert running.stop(number) == 0
    assert ask(here, 32001) == (0, 0)


def test_while_syncs_fail_the_last_state_in_force_is_served(
    here: Place, broken_restore: Path
) -> None:
    broken_restore.unlink()
    running = here.start("--manifests", str(write(here)))
    broken_restore.touch()
    write(here, node="node-b")
    running.says("sync failed")
    assert ask(here) == (200, 1)
    broken_restore.unlink()
    until("the retry", lambda: ask(here) == (503, 0))


def test_once_listens_nowhere(here: Place) -> None:
    assert here.once("--once", "--manifests", str(write(here))).returncode == 0
    assert ask(here) == (0, 0)
