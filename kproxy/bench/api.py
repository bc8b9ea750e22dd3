"""Times of a lab that stays and of its API: `python -m kproxy.bench.api SIZE` prints them as JSON.

- up: `kproxy up`, from its start until it has said that the lab and its API are ready
- apply: `kubectl apply` of a Deployment and a Service, from its start until a pod gets an answer
- create: ConfigMaps, then Services, one request after the other over one connection
- watch: a Service is changed, until the last of the watchers has seen it
- list: all Services, in one answer
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kproxy.bench.api_client import Connection, Server, Watcher, document
from kproxy.bench.results import ApiResult, ApiSize, p99
from kproxy.errors import KernelRefused, TimedOut
from kproxy.kernel.measurement import answer
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run
from kproxy.kernel.running import on_uml, resident_mib
from kproxy.resident.control import ask
from kproxy.resident.orders import POD
from kproxy.resident.records import KUBECONFIG

_SERVICES = "/api/v1/namespaces/default/services"
_SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
_CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
_MERGE_PATCH = "application/merge-patch+json"
_CLUSTER_IP = "10.96.200.200"
_TRY_S = 0.02  # a SYN that was sent before there were rules would be sent again after a second
_PAUSE_S = 0.002
_LOOK_AGAIN_S = 0.05
_PATIENCE_S = 60.0
_REPLICAS = 3
_STARTS = 3  # of kubectl
_PORT = 8080
_MANIFEST = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {_REPLICAS}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - {{name: web, image: nginx, ports: [{{containerPort: {_PORT}}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  selector: {{app: web}}
  clusterIP: {_CLUSTER_IP}
  ports: [{{port: 80, targetPort: {_PORT}}}]
"""


def measure(size: ApiSize) -> ApiResult:
    """Measure in this process, which should be a new one. Raises KproxyError."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the lab is taken down
    with _lab(size) as (status, up_s, up_cpu_s):
        place = Path(status["kubeconfig"]).parent
        up_mib = resident_mib(status["pid"])
        kubectl = kubectl_program()
        kubectl_s = _kubectl_start_s(kubectl) if kubectl else None
        apply_s = _apply_s(kubectl, place) if kubectl else None
        server = Server.of(place / KUBECONFIG)
        with Connection(server) as api:
            config_maps_s = _seconds(lambda: _create_config_maps(api, size.objects))
            services_s = _seconds(lambda: _create_services(api, 0, size.objects))
            _await_slice(api, size.objects - 1)
            seen_s = asyncio.run(_watch(server, size))
            _create_services(api, size.objects, size.services)
            listed = b""

            def list_all() -> None:
                nonlocal listed
                listed = api.ask("GET", _SERVICES)

            list_s = _seconds(list_all)
        return ApiResult(
            size=size,
            user_mode_linux=on_uml(),
            up_s=up_s,
            up_cpu_s=up_cpu_s,
            up_mib=up_mib,
            kubectl_s=kubectl_s,
            apply_s=apply_s,
            services_per_s=size.objects / services_s,
            config_maps_per_s=size.objects / config_maps_s,
            watch_median_s=statistics.median(seen_s),
            watch_p99_s=p99(seen_s),
            list_s=list_s,
            list_bytes=len(listed),
            listed=len(json.loads(listed)["items"]),
            resident_mib=resident_mib(status["pid"]),
        )


@contextmanager
def _lab(size: ApiSize) -> Iterator[tuple[dict[str, Any], float, float]]:
    """Yield the status of a lab, and the seconds and CPU seconds that its start has taken."""
    name = f"bench-{os.getpid()}"
    kproxy = [sys.executable, "-m", "kproxy"]
    options = ["--name", name, "--mode", size.mode, "--nodes", str(size.nodes), "--json"]
    before, start = _cpu_of_children_s(), time.perf_counter()
    status = json.loads(run([*kproxy, "up", *options]))
    up_s = time.perf_counter() - start
    try:
        yield status, up_s, _cpu_of_children_s() - before + _cpu_s(status["pid"])
    finally:
        run([*kproxy, "down", name])


def _cpu_of_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def kubectl_program() -> str | None:
    """Return kubectl: the one installed beside this Python, or that of the PATH."""
    beside = Path(sys.executable).parent
    return shutil.which("kubectl", path=f"{beside}:{os.environ.get('PATH', os.defpath)}")


def _kubectl_start_s(kubectl: str) -> float:
    """Return the median time of a kubectl that asks no server."""
    argv = [kubectl, "version", "--client"]
    return statistics.median(_seconds(lambda: run(argv)) for _ in range(_STARTS))


def _apply_s(kubectl: str, place: Path) -> float:
    """Return the time from the start of kubectl until a pod gets an answer from the Service."""
    (descriptor,) = ask(place, {"do": "host", "host": POD}).descriptors
    with Namespace(descriptor, POD) as pod, tempfile.NamedTemporaryFile("w") as file:
        file.write(_MANIFEST)
        file.flush()
        argv = [kubectl, "--kubeconfig", str(place / KUBECONFIG), "apply", "-f", file.name]
        start = time.perf_counter()
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as applying:
            with pod.entered():
                while not _answers():
                    if applying.poll() or time.perf_counter() - start > _PATIENCE_S:
                        break
                    time.sleep(_PAUSE_S)
                else:
                    return time.perf_counter() - start
            applying.kill()
            assert applying.stderr
            said = applying.stderr.read().decode(errors="replace").strip()
            raise KernelRefused(f"the Service that kubectl applied does not answer {said}".strip())


def _answers() -> bool:
    """Ask the Service over HTTP, in the calling thread's namespace."""
    try:
        with socket.create_connection((_CLUSTER_IP, 80), timeout=_TRY_S) as asking:
            asking.settimeout(1)
            asking.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return asking.recv(64).startswith(b"HTTP/1")
    except OSError:
        return False


def _create_services(api: Connection, first: int, end: int) -> None:
    for number in range(first, end):
        ports = [{"port": 80, "targetPort": _PORT}]
        spec = {"selector": {"app": f"app-{number}"}, "ports": ports}
        api.ask("POST", _SERVICES, document("Service", f"service-{number}", spec=spec))


def _await_slice(api: Connection, number: int) -> None:
    """Return when the controllers have come to the EndpointSlice of a Service."""
    path = f"{_SLICES}?labelSelector=kubernetes.io/service-name=service-{number}"
    end = time.perf_counter() + _PATIENCE_S
    while not json.loads(api.ask("GET", path))["items"]:
        if time.perf_counter() > end:
            raise TimedOut(f"no EndpointSlice of service-{number} within {_PATIENCE_S:g} s")
        time.sleep(_LOOK_AGAIN_S)


def _create_config_maps(api: Connection, count: int) -> None:
    for number in range(count):
        data = {"key": f"value-{number}"}
        api.ask("POST", _CONFIG_MAPS, document("ConfigMap", f"config-{number}", data=data))


async def _watch(server: Server, size: ApiSize) -> list[float]:
    """Return the seconds of each change until all watchers have seen it."""
    loop = asyncio.get_running_loop()
    with Connection(server) as api:
        items = json.loads(api.ask("GET", f"{_SERVICES}?limit=1"))
        path = f"{_SERVICES}?watch=1&resourceVersion={items['metadata']['resourceVersion']}"
        watchers = []
        for _ in range(size.watchers):
            _, watcher = await loop.create_connection(
                lambda: Watcher(server, path), server.host, server.port, ssl=server.tls
            )
            watchers.append(watcher)
        async with asyncio.timeout(_PATIENCE_S):
            await asyncio.gather(*(each.started for each in watchers))
        return [await _change(api, watchers, number) for number in range(size.changes)]


async def _change(api: Connection, watchers: list[Watcher], number: int) -> float:
    value = f"changed-{number}-times"
    seen = [each.expect(value.encode()) for each in watchers]
    body = json.dumps({"metadata": {"labels": {"changed": value}}}).encode()
    start = time.perf_counter()
    api.ask("PATCH", f"{_SERVICES}/service-0", body, _MERGE_PATCH)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await asyncio.gather(*seen)
    except TimeoutError:
        raise TimedOut(f"a watcher has not seen a change within {_PATIENCE_S:g} s") from None
    return time.perf_counter() - start


def _seconds(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


if __name__ == "__main__":
    answer(measure, ApiSize)
