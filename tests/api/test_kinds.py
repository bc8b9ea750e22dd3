"""Misspelled kinds are errors; kinds that have no meaning here are not."""

from __future__ import annotations

import pytest

from kproxy.api import decode, decode_texts

MISSPELLED = [
    ("v1", "Servce", "Service"),
    ("v1", "service", "Service"),
    ("v1", "Services", "Service"),
    ("v1", "Endpoint", "Endpoints"),
    ("v1", "Pods", "Pod"),
    ("v1", "ServiceLists", "ServiceList"),
    ("v1", "NodList", "NodeList"),
    ("apps/v1", "Deploymnet", "Deployment"),
    ("apps/v1", "StatefullSet", "StatefulSet"),
    ("discovery.k8s.io/v1", "EndPointSlice", "EndpointSlice"),
    ("discovery.k8s.io/v1beta1", "Endpointslices", "EndpointSlice"),
    ("networking.k8s.io/v1", "Ingres", "Ingress"),
    (None, "Servce", "Service"),
]


@pytest.mark.parametrize(("version", "kind", "meant"), MISSPELLED)
def test_a_misspelled_kind_is_an_error(version: str | None, kind: str, meant: str) -> None:
    text = f"kind: {kind}\nmetadata: {{name: web}}\n"
    if version:
        text = f"apiVersion: {version}\n{text}"
    line = 2 if version else 1
    for decoded in (decode(text, "f"), decode_texts({"f": text})):
        assert decoded.notices == ()
        assert decoded.problems == (f"f:{line}: {kind} web: kind: unknown; did you mean {meant}?",)


SKIPPED = [  # known kinds without meaning here, and kinds of other makers
    ("v1", "ServiceAccount"),
    ("v1", "PodTemplate"),
    ("v1", "ConfigMap"),
    ("v1", "ConfigMapList"),
    ("apps/v1", "StatefulSet"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("networking.k8s.io/v1", "IngressClass"),
    ("gateway.networking.k8s.io/v1", "Gateway"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("multicluster.x-k8s.io/v1alpha1", "ServiceImport"),
    ("example.com/v1", "Servce"),
    ("v1", "Other"),
]


@pytest.mark.parametrize(("version", "kind"), SKIPPED)
def test_other_kinds_are_skipped(version: str, kind: str) -> None:
    decoded = decode(f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: web}}\n", "f")
    assert decoded.problems == ()
    assert decoded.notices == (f"f:1: kind {kind} is not used by a service proxy; skipped",)


def test_in_a_list_as_well() -> None:
    text = (
        '{"apiVersion": "v1", "kind": "List", "items": [\n{"apiVersion": "v1", "kind": "Servce"}]}'
    )
    assert decode(text, "f.json").problems == (
        "f.json:2: Servce: kind: unknown; did you mean Service?",
    )
