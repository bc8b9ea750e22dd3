"""Bytes of one Pod's change, with Endpoints and with slices; and the page that shows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kproxy.api import decode
from kproxy.api.types import Endpoints, EndpointSlice
from kproxy.controlplane.cost import SIZES, cost, table, wire_bytes
from kproxy.controlplane.endpoints import endpoints_for
from tests.controlplane.clusters import Cluster, service

PAGE = Path(__file__).parents[2] / "docs" / "endpoint-slices.md"


def test_bytes_are_those_of_a_manifest() -> None:
    endpoint_slice = {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": "web-1", "namespace": "default"},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": False}, "nodeName": "node-a"}
        ],
        "ports": [{"name": "http", "protocol": "TCP", "port": 80}],
    }
    text = json.dumps(endpoint_slice, separators=(",", ":"))
    (found,) = decode(text, "f").objects
    assert isinstance(found, EndpointSlice)
    assert wire_bytes(found) == len(text)


@pytest.mark.parametrize("pods", SIZES)
def test_a_change_costs_one_slice_however_many_pods_there_are(pods: int) -> None:
    found = cost(pods, most_addresses=pods)
    assert found.endpoint_slices_bytes == pytest.approx(cost(100).endpoint_slices_bytes, rel=0.02)
    assert found.endpoints_bytes == pytest.approx(
        cost(1000).endpoints_bytes * pods / 1000, rel=0.02
    )


def test_truncated_endpoints_cost_what_a_thousand_do() -> None:
    assert cost(2000).endpoints_bytes == pytest.approx(cost(1000).endpoints_bytes, rel=0.02)


def test_the_cost_of_empty_objects() -> None:
    (placeholder,) = Cluster().sync(service(), []).create
    endpoints = endpoints_for(service(), [])
    assert isinstance(endpoints, Endpoints)
    assert wire_bytes(endpoints) < wire_bytes(placeholder) < 400


def test_the_page_shows_the_real_table() -> None:
    assert "\n".join(table()) in PAGE.read_text()
