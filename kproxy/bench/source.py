"""A proxy fed by an API server: `python -m kproxy.bench.source SIZE` prints a result as JSON.

A stand-in for an API server (`kproxy.bench.api_server`) and `kproxy run`, a process of its own,
share a new namespace; they speak TLS, with a token. Measured are:

- ready: from the start of the process to rules for all objects, and the CPU time that it took
- change: from an event that is sent to its commit in the kernel, which tells by netlink, while
  nothing else happens
- idle: the CPU time when nothing changes, with checks for damage and four open watches
- MiB: the memory of the process once it is ready, and at the end of all

After that come events as fast as they can be sent (`events`), and then some each second for a while
(`soak_s`). In the end the rules must be those of a fresh start with the same objects.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Raw

from kproxy.address import Family
from kproxy.api.typed_kinds import stored
from kproxy.api.types import EndpointSlice, KubernetesObject
from kproxy.backend import complete_options, load
from kproxy.bench.api_server import Json, Served, managed_fields
from kproxy.bench.cluster import CLUSTER_CIDR, NODE, endpoint_slice, objects, with_another_endpoint
from kproxy.bench.results import SourceResult, SourceSize, p99
from kproxy.bench.subject import backend_options, new_proxy
from kproxy.config import ProxyConfig
from kproxy.errors import BadInput, KernelRefused
from kproxy.kernel.links import Links
from kproxy.kernel.measurement import answer
from kproxy.kernel.netlink import NETLINK_NETFILTER, RCVBUFFORCE, messages
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run
from kproxy.kernel.running import resident_mib

SOAK_CHANGES_A_S = 20
PATIENCE_S = 600.0
_PAUSE_S = 1.1  # minSyncPeriod is 1 s: after it a change is written at once
_GROUP, _NEW_GENERATION = 7, 0x0A00 | 15  # NFNLGRP_NFTABLES, NFT_MSG_NEWGEN
_BUFFER_BYTES = 2**20
_TOKEN = "benchmark"
_SETTLED_S = 3.0  # after which what a start needed is given back
_ANOTHER_NODE = "node-7"


def measure(size: SourceSize) -> SourceResult:
    """Measure beside this process. Raises KproxyError."""
    with (
        tempfile.TemporaryDirectory(prefix="kproxy-bench-") as folder,
        Namespace.create("bench") as namespace,
        namespace.entered(),
    ):
        with Links() as links:
            links.up("lo")
        served = _served(size, Path(folder))
        with _Commits() as commits, _proxy(size, served, Path(folder)) as proxy:
            ready_s, ready_cpu_s = proxy.ready()
            if not commits.forget():
                raise BadInput([f"{size.label}: it does not write to nf_tables, which is watched"])
            time.sleep(_SETTLED_S)
            ready_mib = resident_mib(proxy.process.pid)
            changes_s = [_change(served, size, i, commits) for i in range(size.changes)]
            idle = proxy.idle_share(size.idle_s)
            if size.events:
                _pour(served, size)
                commits.settle()
            unsoaked_mib = resident_mib(proxy.process.pid)
            _soak(served, size)
            commits.settle()
            result = SourceResult(
                size=size,
                ready_s=ready_s,
                ready_cpu_s=ready_cpu_s,
                change_median_s=statistics.median(changes_s),
                change_p99_s=p99(changes_s),
                idle_share=idle,
                ready_mib=ready_mib,
                unsoaked_mib=unsoaked_mib,
                resident_mib=resident_mib(proxy.process.pid),
                peak_mib=proxy.peak_mib,
                equal=_rules(size) == _fresh_rules(size, served),
            )
        served.close()
    return result


class _Commits:
    """Waits for commits to nf_tables in the namespace of the calling thread."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._socket.setsockopt(socket.SOL_SOCKET, RCVBUFFORCE, 64 * _BUFFER_BYTES)
        self._socket.bind((0, 1 << (_GROUP - 1)))

    def __enter__(self) -> _Commits:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def forget(self) -> bool:
        """Forget the commits so far. Returns whether there were any."""
        self._socket.setblocking(False)
        found = False
        try:
            while self._receive():
                found = True
        except BlockingIOError:
            self._socket.setblocking(True)
        return found

    def wait(self) -> None:
        """Return after the next commit."""
        self._socket.settimeout(PATIENCE_S)
        while all(kind != _NEW_GENERATION for kind, *_ in messages(self._receive())):
            pass

    def _receive(self) -> bytes:
        """Return messages. If the kernel had to drop some, there were more than fit."""
        while True:
            try:
                return self._socket.recv(_BUFFER_BYTES)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def settle(self) -> None:
        """Return once there was no commit for three seconds."""
        self._socket.settimeout(3)
        try:
            while self._receive():
                pass
        except TimeoutError:
            return


class _Proxy:
    """A running `kproxy run`."""

    def __init__(self, argv: list[str]) -> None:
        self._began = time.monotonic()
        self.process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        self._proc = Path(f"/proc/{self.process.pid}")

    def ready(self) -> tuple[float, float]:
        """Return the seconds, of all and of CPU, until there are rules."""
        assert self.process.stderr
        said = []
        for line in self.process.stderr:
            said.append(line)
            if " ready: " in line:
                took_s = time.monotonic() - self._began, self.cpu_s
                # Nobody reads on: what is said later must not fill the pipe.
                subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)
                return took_s
        raise KernelRefused(f"kproxy run ended:\n{''.join(said)}")

    @property
    def cpu_s(self) -> float:
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def peak_mib(self) -> float:
        lines = (self._proc / "status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

    def idle_share(self, seconds: float) -> float:
        """Return the share of one CPU that is used while nothing happens."""
        before = self.cpu_s
        time.sleep(seconds)
        return (self.cpu_s - before) / seconds


@contextmanager
def _proxy(size: SourceSize, served: Served, folder: Path) -> Iterator[_Proxy]:
    user = {"name": "bench", "user": {"token": _TOKEN}}
    cluster = {"server": served.url, "certificate-authority": str(folder / "tls.crt")}
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "bench",
                "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
                "clusters": [{"name": "bench", "cluster": cluster}],
                "users": [user],
            }
        )
    )
    mode = load(size.mode)
    options = {each.name: each.encode_name for each in msgspec.structs.fields(mode.options)}
    option = options.get(mode.variant_option)
    proxy = _Proxy(
        [
            *(sys.executable, "-m", "kproxy", "run", "--kubeconfig", str(kubeconfig)),
            *(f"--proxy-mode={size.mode}", f"--hostname-override={NODE}"),
            *(f"--cluster-cidr={CLUSTER_CIDR}", f"--emulate={size.emulate}"),
            "--conntrack-max-per-core=0",
            *((f"--backend-option={option}={size.variant}",) if option else ()),
        ]
    )
    try:
        yield proxy
    finally:
        proxy.process.terminate()
        proxy.process.wait()


def _served(size: SourceSize, folder: Path) -> Served:
    certificate = folder / "tls.crt", folder / "tls.key"
    run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", str(certificate[1]), "-out", str(certificate[0]), "-days", "2"),
            *("-subj", "/CN=kube-apiserver", "-addext", "subjectAltName=IP:127.0.0.1"),
        ]
    )
    served = Served(token=_TOKEN, certificate=certificate, watch_lists=size.watch_lists)
    served.put({"kind": "Node", "apiVersion": "v1", "metadata": {"name": NODE, "uid": "0"}})
    for obj in objects(size.services, size.endpoints):
        served.put(as_served(obj))
    served.compact()
    return served


def as_served(obj: KubernetesObject) -> Json:
    """Return an object as an API server sends it: with much that no proxy reads."""
    found: Json = msgspec.to_builtins(obj)
    metadata = {name: value for name, value in found["metadata"].items() if value}
    metadata |= {
        "uid": _UID,
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "generation": 1,
        "managedFields": managed_fields(_UID),
    }
    if isinstance(obj, EndpointSlice):
        service = next(iter(obj.metadata.labels.values()))
        owner = {"apiVersion": "v1", "kind": "Service", "name": service, "uid": _UID}
        metadata["ownerReferences"] = [owner | {"controller": True, "blockOwnerDeletion": True}]
        metadata["generateName"] = f"{service}-"
        manager = "endpointslice-controller.k8s.io"
        metadata["labels"]["endpointslice.kubernetes.io/managed-by"] = manager
        for endpoint in found["endpoints"]:
            name = f"{service}-6d4cf56db6-{endpoint['addresses'][0].replace('.', '-')}"
            pod = {"kind": "Pod", "namespace": "default", "name": name, "uid": _UID}
            endpoint["targetRef"] = pod
    return (
        {"kind": type(obj).__name__, "apiVersion": _API_VERSIONS[type(obj).__name__]}
        | found
        | {"metadata": metadata}
    )


def _change(served: Served, size: SourceSize, number: int, commits: _Commits) -> float:
    """Return the seconds from an event to its commit."""
    time.sleep(_PAUSE_S)
    obj = _changed_slice(size, number)
    commits.forget()
    start = time.monotonic()
    served.put(obj)
    commits.wait()
    return time.monotonic() - start


def _changed_slice(size: SourceSize, number: int) -> Json:
    """Return a slice with another last endpoint; which slice it is depends on `number`."""
    service = number * 7919 % size.services
    former = endpoint_slice(service, size.endpoints)
    served = as_served(with_another_endpoint(former, number % 15_000))
    served["endpoints"][-1]["nodeName"] = _ANOTHER_NODE  # as before: on this node it needs memory
    return served


def _pour(served: Served, size: SourceSize) -> None:
    for number in range(size.events):
        served.put(_changed_slice(size, size.changes + number))
        if number % 1000 == 999:
            served.forget_delivered()


def _soak(served: Served, size: SourceSize) -> None:
    end = time.monotonic() + size.soak_s
    number = size.changes + size.events
    at = time.monotonic()
    while time.monotonic() < end:
        served.put(_changed_slice(size, number))
        number += 1
        at += 1 / SOAK_CHANGES_A_S
        time.sleep(max(0.0, at - time.monotonic()))


def _rules(size: SourceSize) -> object:
    """Return the rules of the calling thread's namespace, in a form that can be compared."""
    mode = load(size.mode)
    options = complete_options(mode, ProxyConfig(), backend_options(mode, size.variant))
    backend = mode.backend(Family.IPV4, options)
    try:
        return mode.comparable(backend.read())
    finally:
        backend.close()


def _fresh_rules(size: SourceSize, served: Served) -> object:
    """Return the rules of a fresh start in another namespace, with what is served."""
    found = []
    for collection in served.collections.values():
        for data in collection.objects.values():
            obj, problems = stored(collection.kind, Raw(data))
            assert not problems, problems
            found.append(obj)
    with Namespace.create("fresh") as namespace, namespace.entered():
        _, proxy = new_proxy(size, found)
        proxy.sync()
        return _rules(size)


_UID = "5a3a6e1e-7a51-4f3b-9a3c-2f1d3b5c7d9e"
_API_VERSIONS = {"Service": "v1", "EndpointSlice": "discovery.k8s.io/v1"}


if __name__ == "__main__":
    answer(measure, SourceSize)
