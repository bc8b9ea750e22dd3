"""A first sync that is killed half-way: nothing half-written stays after the next start."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from msgspec import to_builtins

from kproxy.api.types import Service
from kproxy.bench.cluster import objects
from netns_tests.run.running import Place, until

SERVICES = 1500


def write_cluster(place: Place) -> Path:
    """A manifest that takes several batches."""
    items = []
    for obj in objects(SERVICES, 2):
        version = "v1" if isinstance(obj, Service) else "discovery.k8s.io/v1"
        items.append({"apiVersion": version, "kind": type(obj).__name__, **to_builtins(obj)})
    return place.write(
        "cluster.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    )


@pytest.mark.parametrize("written", [1, SERVICES // 2])
def test_killed_in_mid_sync(place: Place, written: int) -> None:
    path = write_cluster(place)
    flags = ("--manifests", str(path), "--iptables-variant", "nft")
    running = place.start_without_waiting(*flags)
    until(
        f"{written} services in the kernel",
        lambda: place.tool("nft", "list", "chains").count("chain KUBE-SVC-") >= written,
    )
    running.stop(signal.SIGKILL)
    assert place.rules().count(":KUBE-SVC-") < SERVICES  # it was indeed in the middle
    done = place.once(*flags, "--once")
    assert done.returncode == 0, done.stderr
    assert place.rules().count(":KUBE-SVC-") == SERVICES
    taken_over = sorted(place.rules().splitlines())
    place.once("--cleanup")
    place.once(*flags, "--once")
    assert sorted(place.rules().splitlines()) == taken_over
