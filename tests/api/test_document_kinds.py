"""Manifests of kinds that have no type: whole documents, judged as the API server decodes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kproxy.api import decode, load
from kproxy.api.kinds import DOCUMENT_KINDS

CONFIG = "{apiVersion: v1, kind: ConfigMap, metadata: {name: web, namespace: shop}, data: {a: b}}"
STRICT, UNMARSHAL = "strict decoding error: ", "json: cannot unmarshal "
REFUSED = [  # kind, more of the document -> the server's words
    (
        "ConfigMap",
        "data: {a: 3}",
        f"{UNMARSHAL}number into Go struct field ConfigMap.data of type string",
    ),
    ("ConfigMap", "dat: {}", f'{STRICT}unknown field "dat"'),
    (
        "Secret",
        "data: {a: 3}",
        f"{UNMARSHAL}number into Go struct field Secret.data of type []uint8",
    ),
    ("Secret", "data: {a: 'Yg*='}", "illegal base64 data at input byte 2"),
    ("Secret", "data: {a: Q}", "illegal base64 data at input byte 1"),
    ("StatefulSet", "spec: {replica: 3}", f'{STRICT}unknown field "spec.replica"'),
    (
        *("DaemonSet", "spec: {template: {spec: {containers: [{nam: a}]}}}"),
        f'{STRICT}unknown field "spec.template.spec.containers[0].nam"',
    ),
    ("NetworkPolicy", "spec: {podselector: {}}", f'{STRICT}unknown field "spec.podselector"'),
]
ACCEPTED = [
    ("Secret", "data: {a: Yg==}\nstringData: {b: c}\ntype: Opaque"),
    ("ConfigMap", "binaryData: {a: Yg==}\nimmutable: true"),
    ("Namespace", "spec: {finalizers: [kubernetes]}"),
    ("ServiceAccount", "automountServiceAccountToken: false\nsecrets: [{name: a}]"),
    ("NetworkPolicy", "spec: {podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}"),
    ("IngressClass", "spec: {controller: example.org/edge}"),
    ("Lease", "spec: {holderIdentity: a, renewTime: '2026-01-01T00:00:00.000000Z'}"),
    ("ControllerRevision", "revision: 1\ndata: {any: [1]}"),
    ("StatefulSet", "spec: {volumeClaimTemplates: [{metadata: {name: a}, spec: {}}]}"),
]


def manifest(kind: str, more: str) -> str:
    return f"apiVersion: {DOCUMENT_KINDS[kind]}\nkind: {kind}\nmetadata: {{name: web}}\n{more}\n"


@pytest.mark.parametrize(("kind", "more", "words"), REFUSED)
def test_what_the_server_does_not_decode(kind: str, more: str, words: str) -> None:
    decoded = decode(manifest(kind, more), "f")
    version = DOCUMENT_KINDS[kind].rpartition("/")[2]
    told = f'{kind} in version "{version}" cannot be handled as a {kind}: {words}'
    assert decoded.problems == (f"f:4: {kind} web: {told}",)
    (skipped,) = decoded.skipped
    assert skipped.document is None


@pytest.mark.parametrize(("kind", "more"), ACCEPTED)
def test_what_it_decodes(kind: str, more: str) -> None:
    decoded = decode(manifest(kind, more), "f")
    assert not decoded.problems
    (skipped,) = decoded.skipped
    assert skipped.key == (kind, "default", "web")
    assert skipped.document
    assert skipped.document["metadata"] == {"name": "web"}


def test_from_json_as_from_yaml() -> None:
    whole = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "web", "namespace": "shop"},
        "data": {"a": "b"},
    }
    for text in (CONFIG, json.dumps(whole)):
        (skipped,) = decode(text, "f").skipped
        assert skipped.document == whole
    (problem,) = decode(json.dumps(whole)[:-1] + ', "data": {}}', "f.json").problems
    assert problem.endswith('strict decoding error: duplicate field "data"')


def test_a_document_is_defined_once() -> None:
    assert decode(f"{CONFIG}\n---\n{CONFIG}", "f").problems == (
        "f:3: ConfigMap shop/web: metadata.name: ConfigMap shop/web is defined already, at f:1",
    )


@pytest.mark.parametrize("comment", ["", "# so it is YAML\n"], ids=["json", "yaml"])
def test_the_items_of_a_list_have_its_kind(comment: str) -> None:
    about, names = {"apiVersion": "v1", "kind": "ConfigMap"}, [{"name": "one"}, {"name": "two"}]
    items = [{"metadata": names[0]}, {"kind": "ConfigMap", "metadata": names[1]}]
    whole = {"apiVersion": "v1", "kind": "ConfigMapList", "items": items}
    decoded = decode(comment + json.dumps(whole), "f")
    assert not decoded.problems
    assert [each.document for each in decoded.skipped] == [
        {**about, "metadata": each} for each in names
    ]


def test_an_item_of_a_list_is_judged_as_any_object() -> None:
    items = [{"metadata": {"name": "one"}, "dat": {}}]
    decoded = decode(json.dumps({"apiVersion": "v1", "kind": "ConfigMapList", "items": items}), "f")
    (problem,) = decoded.problems
    assert problem.endswith('strict decoding error: unknown field "dat"')


def test_lists_of_kinds_without_meaning_are_taken_apart() -> None:
    items = [{"metadata": {"name": name}} for name in "ab"]
    whole = {"apiVersion": "batch/v1", "kind": "JobList", "items": items}
    skipped = decode(json.dumps(whole), "f").skipped
    assert [(each.kind, each.name) for each in skipped] == [("Job", "a"), ("Job", "b")]


def test_what_only_sounds_like_a_list_is_none() -> None:
    (skipped,) = decode("{apiVersion: example.com/v1, kind: AllowList, items: {}}", "f").skipped
    assert skipped.kind == "AllowList"


@pytest.mark.parametrize("version", ["apps/v1beta1", "apps.kruise.io/v1", "{}", "''"])
def test_other_versions_are_not_read(version: str) -> None:
    decoded = decode(f"apiVersion: {version}\nkind: StatefulSet\nmetadata: 3\n", "f")
    assert not decoded.problems
    assert [each.document for each in decoded.skipped] == [None]


def test_who_reads_what_is_stored_needs_no_documents(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(f"{CONFIG}\n---\n{manifest('ConfigMap', 'data: {a: 3}')}")
    decoded = load([path], stored=True)
    assert not decoded.problems
    assert [each.document for each in decoded.skipped] == [None, None]
