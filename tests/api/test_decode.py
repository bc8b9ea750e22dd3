"""Decoding text to objects: formats, documents, lists, defaults, and problems of bad text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from kproxy.api.types import (
    ClientIPConfig,
    Deployment,
    EndpointConditions,
    EndpointSlice,
    HTTPGetAction,
    Metadata,
    Node,
    OwnerReference,
    Pod,
    Probe,
    Service,
    ServiceCIDR,
    ServiceCIDRSpec,
    SessionAffinityConfig,
    Unread,
)
from tests.api.objects import (
    ALL,
    NODE,
    POD,
    SERVICE,
    SERVICE_CIDR,
    SLICE,
    Manifest,
    edited,
    stored,
)

DATA = Path(__file__).parent / "data"
DUMPS = Path(__file__).parent / "dumps"
NODE_TEXT = "{apiVersion: v1, kind: Node, metadata: {name: %s}}"


def names(text: str, where: str = "f") -> str:
    decoded = stored(text, where)
    assert decoded.problems == ()
    return " ".join(each.metadata.name for each in decoded.objects)


def one(manifest: Manifest) -> object:
    decoded = stored(json.dumps(manifest), "f.json")
    assert decoded.problems == ()
    (obj,) = decoded.objects
    return obj


def nodes(*each: str, separator: str = "\n---\n") -> str:
    return separator.join(NODE_TEXT % name for name in each)


@pytest.mark.parametrize("path", sorted(DATA.iterdir()), ids=lambda path: path.stem)
def test_objects_that_kube_proxy_accepts(path: Path) -> None:
    decoded = stored(path.read_bytes(), path.name)
    assert decoded.problems == ()
    assert decoded.notices == ()
    assert len(decoded.objects) == path.read_text().count("\nkind: ")


def test_objects_as_kubectl_shows_them() -> None:
    decoded = stored((DUMPS / "web.yaml").read_bytes(), "web.yaml")
    assert (decoded.problems, decoded.notices) == ((), ())
    deployment, pod, service = decoded.objects
    assert isinstance(deployment, Deployment)
    assert deployment.spec.template.spec.containers[0].readiness_probe == Probe(
        http_get=HTTPGetAction(path="/healthz", port="http", http_headers=(Unread(),)),
        period_seconds=5,
    )
    assert isinstance(pod, Pod)
    assert pod.metadata.owner_references == (
        OwnerReference(
            api_version="apps/v1",
            kind="ReplicaSet",
            name="web-6c9f8d7b5c",
            uid="6a2f0c3e-8a35-4c1e-9b8a-0a4f4b6f3c21",
            controller=True,
            block_owner_deletion=True,
        ),
    )
    assert isinstance(service, Service)
    assert service.spec.load_balancer_class == "example.com/internal"
    assert service.spec.load_balancer_ip == "203.0.113.9"


TEXTS = [  # text -> names of its nodes
    ("", ""),
    ("---\n---\n# nothing\n---\n", ""),
    ("null", ""),
    (nodes("a", "b"), "a b"),
    ("---\n" + nodes("a", "b") + "\n...\n", "a b"),
    ("\ufeff" + nodes("a"), "a"),
    (nodes("a", "b").replace("\n", "\r\n"), "a b"),
    ("%YAML 1.1\n---\n" + nodes("a"), "a"),
    ('{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}', "a"),
    ('\n {"kind": "NodeList", "apiVersion": "v1", "items": [{"metadata": {"name": "a"}}]}', "a"),
    ('{"kind": "List", "apiVersion": "v1", "items": null}', ""),
    ("kind: List\napiVersion: v1\nitems:\n- " + nodes("a", "b", separator="\n- "), "a b"),
    ("kind: NodeList\napiVersion: v1\nitems:\n- metadata: {name: a}\n", "a"),
    ("kind: NodeList\napiVersion: v1\n", ""),
    (
        "base: &base {apiVersion: v1, kind: Node}\n<<: *base\nmetadata: {name: a}\n",
        "a",
    ),
    ("<<: {metadata: {name: a}, kind: Pod}\nkind: Node\napiVersion: v1\nmetadata: {name: b}", "b"),
    ("<<: [{metadata: {name: a}}, {metadata: {name: b}}]\nkind: Node\napiVersion: v1", "a"),
    ("apiVersion: v1\nkind: Node\nmetadata: {name: !!str 1, deletionTimestamp: 2024-01-01}", "1"),
]


@pytest.mark.parametrize(("text", "found"), TEXTS)
def test_texts(text: str, found: str) -> None:
    assert names(text) == found
    assert stored(text.encode(), "f") == stored(text, "f")


BAD_TEXTS = [  # text -> what is said
    ("a: b: c", ["f:1: mapping values are not allowed in this context"]),
    ("a: ]", ["f:1: did not find expected node content, while parsing a block node"]),
    ("- a", ["f:1: expected an object, got a list"]),
    ("text", ["f:1: expected an object, got 'text'"]),
    ("a: 1\n---\n3", ["f:1: kind: missing", "f:3: expected an object, got 3"]),
    ("a: \x07", ["f:1: the character U+0007 is not allowed in YAML"]),
    (
        "kind: Node\nkind: Pod",
        [
            "f:2: Pod: kind: given twice, first on line 1",
            "f:1: Pod: apiVersion: expected v1, missing",
        ],
    ),
    ("a: *b", ["f:1: a: no anchor &b before *b", "f:1: kind: missing"]),
    ("a: &b [*b]", ["f:1: a[0]: no anchor &b before *b", "f:1: kind: missing"]),
    ("a: !odd x", ["f:1: a: the tag !odd is not supported", "f:1: kind: missing"]),
    ("[a]: b", ["f:1: a key must be a string"]),
    ("~: b", ["f:1: a key must not be null"]),
    ("a: !!int b", ["f:1: a: 'b' cannot be read as !!int", "f:1: kind: missing"]),
    ("<<: 1", ["f:1: [<<]: << needs a mapping, or a list of mappings", "f:1: kind: missing"]),
    ("kind: List\napiVersion: v1\nitems: 3", ["f:3: items: expected a list, got 3"]),
    (
        '{"kind": "List", "apiVersion": "v1", "items": {}}',
        ["f:1: items: expected a list, got an object"],
    ),
    (
        '{"kind": "List", "apiVersion": "v1", "items": [3]}',
        ["f:1: items[0]: expected an object, got 3"],
    ),
    ("kind: List\napiVersion: v2\nitems: []", ["f:2: apiVersion: expected v1, got 'v2'"]),
    (
        "kind: List\napiVersion: v1\nitems: [{kind: List}]",
        ["f:3: items[0]: a list inside a list is not read"],
    ),
    (
        "kind: List\napiVersion: v1\nitems:\n- metadata:\n    a.b/c: 1\n    a.b/c: 2",
        [
            "f:6: items[0]: metadata[a.b/c]: given twice, first on line 5",
            "f:4: items[0]: kind: missing",
        ],
    ),
    ("a: '\ud800'", ["f: not UTF-8 text (U+D800)"]),
]


@pytest.mark.parametrize(("text", "said"), BAD_TEXTS, ids=range(len(BAD_TEXTS)))
def test_bad_texts(text: str, said: list[str]) -> None:
    problems = stored(text, "f").problems
    for problem, words in zip(problems, said, strict=True):
        assert words in problem


def test_a_syntax_error_does_not_hide_the_documents_behind_it() -> None:
    text = "\n---\n".join(["a: b: c", NODE_TEXT % "a", "'", "", ": :", NODE_TEXT % "B", "x: ["])
    decoded = stored(text, "f")
    assert [problem.split(" ", 1)[0] for problem in decoded.problems] == [
        "f:1:",
        "f:6:",
        "f:9:",
        "f:11:",
        "f:14:",
    ]
    assert [each.metadata.name for each in decoded.objects] == ["a"]


def test_lines_are_counted_from_the_beginning_of_the_file() -> None:
    problems = stored("a: b: c\n---\nkind: Node\nkind: Node\n---\n\n  a: b: c\n", "f").problems
    assert problems[0].startswith("f:1: mapping values")
    assert problems[1] == "f:4: Node: kind: given twice, first on line 3"
    assert problems[-1].startswith("f:7: mapping values")


def test_json_errors_name_the_line() -> None:
    text = '{"apiVersion": "v1",\n "kind": "Node",\n "metadata": }'
    assert stored(text, "f.json").problems == ("f.json:3: JSON is malformed: invalid character",)
    assert stored(text[:-3], "f.json").problems == ("f.json:3: input data was truncated",)


def test_a_byte_order_mark_is_no_part_of_json() -> None:
    assert names("\ufeff" + json.dumps(NODE), "f.json") == "node-0.example"


def test_what_is_not_utf8() -> None:
    assert stored(b"a: 1\nb: \xff", "f").problems == ("f:2: not UTF-8 text (byte 0xff)",)


def test_aliases_do_not_multiply_without_limit() -> None:
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    text = "\n".join(["a0: &a0 [1]", *levels])
    assert "aliases multiply to too many values" in stored(text, "f").problems[0]


def test_every_problem_is_reported_at_once() -> None:
    manifest = edited(SERVICE, "metadata.name", "Web")
    for path, value in [
        ("spec.type", "Foo"),
        ("spec.ports[0].port", "x"),
        ("spec.ports[1].port", 0),
        ("spec.externalIPs[0]", "?"),
        ("status.loadBalancer.ingress[0].ip", 5),
    ]:
        manifest = edited(manifest, path, value)
    decoded = stored(json.dumps({"kind": "List", "apiVersion": "v1", "items": [manifest, {}]}), "f")
    assert sorted(problem.split(": ")[2] for problem in decoded.problems) == [
        "kind",
        "metadata.name",
        "spec.externalIPs[0]",
        "spec.ports[0].port",
        "spec.ports[1].port",
        "spec.type",
        "status.loadBalancer.ingress[0].ip",
    ]
    assert decoded.objects == ()


def test_other_kinds_are_skipped_with_one_notice_each() -> None:
    text = "\n---\n".join(
        ["{apiVersion: apps/v1, kind: ReplicaSet}"] * 3
        + ["{kind: 'A b\n\nc'}", "{kind: List, apiVersion: v1, items: [{kind: ReplicaSet}]}"]
    )
    decoded = stored(text, "f")
    assert decoded.problems == ()
    assert decoded.notices == (
        "f:1: kind ReplicaSet is not used by a service proxy; skipped",
        "f:7: kind 'A b\\nc' is not used by a service proxy; skipped",
    )


def test_two_cluster_ips_without_families_may_surprise() -> None:
    decoded = stored(json.dumps(edited(SERVICE, "spec.ipFamilies", None)), "f")
    assert decoded.problems == ()
    told = "missing, so 10.96.0.10 is the only cluster IP served"
    assert decoded.notices == (f"f:1: Service shop/web: spec.ipFamilies: {told}",)


def test_defaults_of_a_service() -> None:
    service = one(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "", "labels": {"a": None}},
            "spec": {
                "clusterIP": "10.96.0.010",
                "sessionAffinity": "ClientIP",
                "ports": [{"port": 80, "protocol": None}],
            },
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.01", "ipMode": None}]}},
        }
    )
    assert isinstance(service, Service)
    assert service.metadata.namespace == "default"
    assert service.metadata.labels == {"a": ""}
    spec = service.spec
    assert (spec.type, spec.cluster_ip, spec.cluster_ips) == (
        "ClusterIP",
        "10.96.0.10",
        ("10.96.0.10",),
    )
    assert spec.ip_families == ()  # empty has a meaning of its own
    assert (spec.internal_traffic_policy, spec.external_traffic_policy) == ("Cluster", None)
    assert spec.session_affinity_config == SessionAffinityConfig(
        client_ip=ClientIPConfig(timeout_seconds=10800)
    )
    assert spec.ports[0].protocol == "TCP"
    assert [(each.ip, each.ip_mode) for each in service.status.load_balancer.ingress] == [
        ("192.0.2.1", "VIP")
    ]


@pytest.mark.parametrize(
    ("spec", "policy", "allocates"),
    [
        ({"type": "ClusterIP"}, None, None),
        ({"type": "ClusterIP", "externalIPs": ["203.0.113.1"]}, "Cluster", None),
        ({"type": "NodePort"}, "Cluster", None),
        ({"type": "LoadBalancer"}, "Cluster", True),
        ({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}, "Cluster", False),
        ({"type": "ExternalName", "externalName": "a.example"}, None, None),
    ],
)
def test_defaults_by_type(
    spec: dict[str, object], policy: str | None, allocates: bool | None
) -> None:
    service = one({**SERVICE, "spec": {"ports": [{"port": 80}], **spec}, "status": {}})
    assert isinstance(service, Service)
    assert service.spec.external_traffic_policy == policy
    assert service.spec.allocate_load_balancer_node_ports == allocates


def test_addresses_are_canonical_afterwards() -> None:
    service = one(
        edited(
            edited(
                edited(SERVICE, "spec.clusterIPs", ["10.96.0.010", "FD00:0::A"]),
                "spec.externalIPs",
                ["203.0.113.01", "::ffff:1.2.3.4"],
            ),
            "spec.loadBalancerSourceRanges",
            ["", " 10.1.2.3/8 ", "fd00::1/64"],
        )
    )
    assert isinstance(service, Service)
    assert service.spec.cluster_ips == ("10.96.0.10", "fd00::a")
    assert service.spec.external_ips == ("203.0.113.1", "1.2.3.4")
    assert service.spec.load_balancer_source_ranges == ("10.0.0.0/8", "fd00::/64")
    found = one(edited(SLICE, "endpoints[0].addresses[0]", "10.244.000.5"))
    assert isinstance(found, EndpointSlice)
    assert found.endpoints[0].addresses == ("10.244.0.5",)
    node = one(edited(NODE, "spec", {"podCIDR": "10.244.0.7/24"}))
    assert isinstance(node, Node)
    assert (node.spec.pod_cidr, node.spec.pod_cidrs) == ("10.244.0.0/24", ("10.244.0.0/24",))
    assert node.metadata.namespace == ""
    pod = one(edited(POD, "status", {"podIPs": [{"ip": "10.244.0.05"}, {"ip": "fd00:0::5"}]}))
    assert isinstance(pod, Pod)
    assert pod.status.pod_ip == "10.244.0.5"
    assert [each.ip for each in pod.status.pod_ips] == ["10.244.0.5", "fd00::5"]


def test_a_service_cidr_is_in_no_namespace() -> None:
    assert one(edited(SERVICE_CIDR, "metadata.namespace", "shop")) == ServiceCIDR(
        metadata=Metadata(name="kubernetes.default", namespace=""),
        spec=ServiceCIDRSpec(cidrs=("10.96.0.0/12", "fd00:10:96::/112")),
    )


def test_nulls_are_absent() -> None:
    plain = edited(SLICE, "endpoints[0]", {"addresses": ["10.244.0.5"]})
    nulls = edited(
        plain,
        "endpoints[0]",
        {"addresses": ["10.244.0.5"], "conditions": None, "hints": None, "zone": None},
    )
    assert one(nulls) == one(plain)
    found = one(nulls)
    assert isinstance(found, EndpointSlice)
    assert found.endpoints[0].conditions == EndpointConditions()


def test_all_kinds_in_one_list() -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": ALL})
    assert [type(each).__name__ for each in stored(text, "f.json").objects] == [
        manifest["kind"] for manifest in ALL
    ]


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_without_the_c_library_it_is_only_slower(
    monkeypatch: pytest.MonkeyPatch, loader: str
) -> None:
    monkeypatch.setattr("kproxy.api.yaml_documents._Loader", getattr(yaml, loader))
    text = "\n---\n".join(["é: ééé", "a: b: c", NODE_TEXT % "a", NODE_TEXT % "b"])
    decoded = stored(text, "f")
    assert [each.metadata.name for each in decoded.objects] == ["a", "b"]
    first, second = decoded.problems
    assert first == "f:1: kind: missing"
    assert second.startswith("f:3: mapping values are not allowed")
