"""Misspelled kinds are errors; kinds that have no meaning here are not."""

from __future__ import annotations

import pytest

from kproxy.api import decode, decode_texts
from kproxy.api.kinds import DOCUMENT_KINDS
from kproxy.api.typed_kinds import KINDS as TYPED
from kproxy.api.typed_kinds import TYPES
from kproxy.controlplane.api_kinds import KINDS

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


def test_all_kinds_of_control_planes_are_read() -> None:
    assert {*TYPED} == {*TYPES}
    untyped = {name: kind.api_version for name, kind in KINDS.items() if name not in TYPES}
    assert dict(DOCUMENT_KINDS) == untyped


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


OTHERS = [  # kinds of other makers that have a name of ours
    ("serving.knative.dev/v1", "Service"),
    ("config.openshift.io/v1", "Ingress"),
    ("management.cattle.io/v3", "Node"),
    ("whereabouts.cni.cncf.io/v1alpha1", "IPAddress"),
]


@pytest.mark.parametrize(("version", "kind"), OTHERS)
def test_kinds_of_others_with_a_name_of_ours_are_skipped(version: str, kind: str) -> None:
    text = f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: web}}\nspec: {{ports: 5}}\n"
    for decoded in (decode(text, "f"), decode_texts({"f": text})):
        assert (decoded.objects, decoded.problems) == ((), ())
        name = f"{kind}.{version.partition('/')[0]}"
        assert decoded.notices == (f"f:1: kind {name} is not used by a service proxy; skipped",)


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("apps/v1", "Service"),
        ("discovery.k8s.io/v1", "Service"),
        ("discovery.k8s.io/v1beta1", "EndpointSlice"),
        ("discovery.k8s.oi/v1", "EndpointSlice"),
        ("networking.k8.io/v1", "ServiceCIDR"),
        ("v2", "Node"),
        ("", "Service"),
    ],
)
def test_a_wrong_version_or_group_of_kubernetes_is_an_error(version: str, kind: str) -> None:
    text = f"apiVersion: '{version}'\nkind: {kind}\nmetadata: {{name: web}}\n"
    (problem,) = decode_texts({"f": text}).problems
    assert problem.startswith(f"f:1: {kind} web: apiVersion: expected ")


def test_a_service_proxy_passes_over_what_only_labs_use() -> None:
    """Whatever is wrong with it: an Ingress, for instance, has been of other versions."""
    text = "apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: web}\nspec: {}\n"
    decoded = decode_texts({"f": text})
    assert decoded.problems == ()
    assert decoded.notices == ("f:1: kind Ingress is not used by a service proxy; skipped",)


def test_in_a_list_as_well() -> None:
    text = (
        '{"apiVersion": "v1", "kind": "List", "items": [\n{"apiVersion": "v1", "kind": "Servce"}]}'
    )
    assert decode(text, "f.json").problems == (
        "f.json:2: Servce: kind: unknown; did you mean Service?",
    )
