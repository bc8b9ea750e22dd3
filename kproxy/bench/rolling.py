"""A rolling update of one large Service: `sudo python -m kproxy.bench.rolling [PODS]`.

Prints what one event of an EndpointSlice costs a node: its bytes as an API server sends it, the CPU
time to decode and check it, and that of the sync after it, in each mode, in a new namespace.
docs/operating.md has the results, and calculates the load of a large cluster from them.
"""

from __future__ import annotations

import statistics
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from kproxy.api.typed_kinds import stored
from kproxy.api.types import KubernetesObject
from kproxy.bench.api_server import managed_fields
from kproxy.bench.results import ProxySize
from kproxy.bench.subject import new_proxy
from kproxy.kernel.netns import Namespace
from kproxy.typed import decoder

A_SLICE = 100  # endpoints, as the EndpointSlice controller has it
CHANGES, DECODED = 60, 2000
MODES = (
    ("nftables", "kube-proxy"),
    ("nftables", "flat"),
    ("iptables", "nft"),
    ("iptables", "legacy"),
)

Json = dict[str, Any]


class _Event(Struct):
    type: str
    object: Raw


def _service() -> Json:
    return {
        "metadata": {"name": "checkout", "namespace": "shop"},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "10.96.0.10",
            "clusterIPs": ["10.96.0.10"],
            "ipFamilies": ["IPv4"],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
        },
    }


def _endpoint(number: int) -> Json:
    return {
        "addresses": [f"10.{128 + number // 65536}.{number // 256 % 256}.{number % 256}"],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": f"node-{number % 5000:04d}.eu-west-1.compute.internal",
        "targetRef": {
            "kind": "Pod",
            "namespace": "shop",
            "name": f"checkout-6d5f8c7b9d-{number:05x}",
            "uid": str(uuid.UUID(int=number * 7919 + 1)),
        },
        "zone": f"eu-west-1{'abc'[number % 3]}",
    }


def _slice(number: int) -> Json:
    """Return a slice as an API server has it, with all that a proxy does not read."""
    trigger = "endpoints.kubernetes.io/last-change-trigger-time"
    manager = "endpointslice.kubernetes.io/managed-by"
    owner = str(uuid.UUID(int=5))
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": f"checkout-{number:05x}",
            "generateName": "checkout-",
            "namespace": "shop",
            "uid": str(uuid.UUID(int=number + 99)),
            "resourceVersion": str(81234567 + number),
            "generation": 41,
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {
                "app": "checkout",
                manager: "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": "checkout",
            },
            "annotations": {trigger: "2026-01-02T03:04:05Z"},
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": "checkout",
                    "uid": owner,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
            "managedFields": managed_fields(owner),
        },
        "addressType": "IPv4",
        "endpoints": [_endpoint(number * A_SLICE + i) for i in range(A_SLICE)],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def _object(kind: str, data: bytes) -> KubernetesObject:
    obj, problems = stored(kind, Raw(data))
    assert not problems, problems
    return obj


def _cpu_ms(what: Callable[[], object]) -> float:
    start = time.process_time()
    what()
    return (time.process_time() - start) * 1000


def main(pods: int = 5000) -> None:
    encode, events = msgspec.json.encode, decoder(_Event)
    event = encode({"type": "MODIFIED", "object": _slice(1)})
    managed = len(encode(_slice(1)["metadata"]["managedFields"]))
    print(f"an event of {A_SLICE} endpoints: {len(event)} bytes, {managed} of managedFields")

    def decode() -> KubernetesObject:
        return _object("EndpointSlice", bytes(events.decode(event).object))

    times = [_cpu_ms(decode) for _ in range(DECODED)]
    print(f"decoded and checked in {statistics.fmean(times):.2f} ms of CPU time")
    slices = pods // A_SLICE
    for mode, variant in MODES:
        with Namespace.create("kproxy-bench-rolling") as namespace, namespace.entered():
            objects = [_object("Service", encode(_service()))]
            objects += [_object("EndpointSlice", encode(_slice(i))) for i in range(slices)]
            store, proxy = new_proxy(ProxySize(mode=mode, variant=variant, services=1), objects)
            proxy.sync()
            took = []
            for i in range(CHANGES):
                changed = _slice(i % slices)
                changed["endpoints"][i % A_SLICE] = _endpoint(pods + i)
                store.upsert(_object("EndpointSlice", encode(changed)))
                took.append(_cpu_ms(proxy.sync))
        median = statistics.median(took)
        print(f"{mode} {variant}: a sync after one change takes {median:.0f} ms of CPU time")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
