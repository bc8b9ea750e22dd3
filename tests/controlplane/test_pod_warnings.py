"""Pods and templates of Pods give the API server's warnings, in its words and order."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import convert
from msgspec.structs import replace

from kproxy.api.types import Metadata, Node, Pod
from kproxy.controlplane.api_warnings import api_warnings
from kproxy.controlplane.value_problems import label_value_problems
from tests.controlplane.played import deployment, pod

Values = dict[str, Any]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
OS = 'deprecated since v1.14; use "kubernetes.io/os" instead'
NO_SELECTOR = "a null labelSelector results in matching no pod"
PREVIOUS = 'hides previous definition of "A", which may be dropped when using apply'
TOKEN = 'has duplicated path with ServiceAccountToken "token"'
SECCOMP = 'non-functional in v1.27+; use the "seccompProfile" field instead'
APP_ARMOR = 'deprecated since v1.30; use the "appArmorProfile" field instead'


def fractional(field: str, amount: str) -> str:
    return f'{field}: fractional byte value "{amount}" is invalid, must be an integer'


def with_env(*variables: Values) -> Values:
    return {"containers": [{"name": "c", "image": "i", "env": list(variables)}]}


SPECS: list[tuple[Values, list[str]]] = [
    (
        {"nodeSelector": {"beta.kubernetes.io/os": "linux"}},
        [f"nodeSelector[beta.kubernetes.io/os]: {OS}"],
    ),
    (
        {"nodeSelector": {"node-role.kubernetes.io/master": ""}},
        [
            (
                "nodeSelector[node-role.kubernetes.io/master]: use"
                ' "node-role.kubernetes.io/control-plane" instead'
            )
        ],
    ),
    (
        {
            "affinity": {
                "nodeAffinity": {
                    REQUIRED: {
                        "nodeSelectorTerms": [
                            {
                                "matchExpressions": [
                                    {"key": "beta.kubernetes.io/os", "values": ["-"]}
                                ]
                            }
                        ]
                    },
                    PREFERRED: [
                        {"preference": {"matchExpressions": [{"key": "a", "values": ["a", "-"]}]}}
                    ],
                },
                "podAffinity": {REQUIRED: [{"labelSelector": {}}, {"topologyKey": "a"}]},
                "podAntiAffinity": {PREFERRED: [{"podAffinityTerm": {"topologyKey": "a"}}]},
            }
        },
        [
            (
                f"affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].key:"
                f" beta.kubernetes.io/os is {OS}"
            ),
            (
                f"affinity.nodeAffinity.{PREFERRED}[0].preference.matchExpressions[0].values[1]:"
                f" - is invalid, {label_value_problems('-')[0]}"
            ),
            f"affinity.podAffinity.{REQUIRED}[1].labelSelector: {NO_SELECTOR}",
            f"affinity.podAntiAffinity.{PREFERRED}[0].podAffinityTerm.labelSelector: {NO_SELECTOR}",
        ],
    ),
    (
        {"topologySpreadConstraints": [{"topologyKey": "beta.kubernetes.io/os"}]},
        [
            f"topologySpreadConstraints[0].topologyKey: beta.kubernetes.io/os is {OS}",
            f"topologySpreadConstraints[0].labelSelector: {NO_SELECTOR}",
        ],
    ),
    (
        {
            "volumes": [
                {"name": "a", "emptyDir": {}},
                {"name": "b", "gitRepo": {"repository": "r"}},
                {"name": "c", "storageos": {}},
                {"name": "d", "rbd": {}},
            ]
        },
        [
            "volumes[1].gitRepo: deprecated in v1.11",
            "volumes[2].storageOS: deprecated in v1.22, non-functional in v1.25+",
            "volumes[3].rbd: deprecated in v1.28, non-functional in v1.31+",
        ],
    ),
    (
        {
            "volumes": [
                {
                    "name": "a",
                    "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
                },
                {
                    "name": "b",
                    "projected": {
                        "sources": [
                            {"secret": {"items": [{"path": "x"}, {"path": "token"}]}},
                            {"downwardAPI": {"items": [{"path": "token"}]}},
                            {"clusterTrustBundle": {"path": "token"}},
                        ]
                    },
                },
            ]
        },
        [
            f"volumes[1].projected.sources.secrets[1]: {TOKEN}",
            f"volumes[1].projected.sources.downwardAPI[0]: {TOKEN}",
            f"volumes[1].projected.sources.ClusterTrustBundle: {TOKEN}",
        ],
    ),
    (
        {"hostAliases": [{"ip": "10.0.0.1"}, {"ip": "fd00::0:1"}, {"ip": "10.0.0.1"}]},
        [
            'hostAliases[2].ip: duplicate ip "10.0.0.1"',
            (
                'hostAliases[1].ip: IPv6 address "fd00::0:1" should be in RFC 5952 canonical format'
                ' ("fd00::1")'
            ),
        ],
    ),
    (
        {"dnsConfig": {"nameservers": ["10.0.0.01"]}},
        [
            (
                'dnsConfig.nameservers[0]: non-standard IP address "10.0.0.01" will be considered'
                ' invalid in a future Kubernetes release: use "10.0.0.1"'
            )
        ],
    ),
    (
        {"imagePullSecrets": [{"name": "a"}, {}, {"name": "a"}]},
        [
            'imagePullSecrets[2].name: duplicate name "a"',
            'imagePullSecrets[1].name: invalid empty name ""',
        ],
    ),
    ({"overhead": {"memory": "0.5", "cpu": "0.5"}}, [fractional("overhead[memory]", "500m")]),
    (
        {
            "containers": [
                {
                    "name": "c",
                    "image": "i",
                    "resources": {
                        "limits": {"memory": "100m", "ephemeral-storage": "1e-4"},
                        "requests": {"memory": 0.25, "cpu": "100m"},
                    },
                }
            ]
        },
        [
            fractional("containers[0].resources.limits[memory]", "100m"),
            fractional("containers[0].resources.requests[memory]", "250m"),
            fractional("containers[0].resources.limits[ephemeral-storage]", "100e-6"),
        ],
    ),
    (with_env({"name": "A", "value": "1"}, {"name": "B", "value": "1"}), []),
    (with_env({"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}), []),
    (with_env({"name": "A"}, {"name": "A", "value": "2"}), [f"containers[0].env[1]: {PREVIOUS}"]),
    (
        with_env({"name": "A"}, {"name": "A", "value": "$(A)"}),
        [f"containers[0].env[1]: {PREVIOUS}"],
    ),
    (
        with_env({"name": "A"}, {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "a"}}}),
        [f"containers[0].env[1]: {PREVIOUS}"],
    ),
    (
        {
            "initContainers": [
                {"name": "i", "image": "i", "ports": [{"containerPort": 80, "name": "a"}]},
                {
                    "name": "j",
                    "image": "i",
                    "restartPolicy": "Always",
                    "ports": [{"containerPort": 81, "name": "a"}],
                },
            ],
            "containers": [
                {
                    "name": "c",
                    "image": "i",
                    "ports": [{"containerPort": 80}, {"containerPort": 82, "name": "a"}],
                }
            ],
        },
        [
            (
                "containers[0].ports[0]: duplicate port definition with"
                " {path}initContainers[0].ports[0]"
            ),
            (
                'containers[0].ports[1]: duplicate port name "a" with'
                " {path}initContainers[1].ports[0], services and probes that select ports by"
                " name will use {path}initContainers[1].ports[0]"
            ),
        ],
    ),
]


@pytest.mark.parametrize(("spec", "warnings"), SPECS, ids=str)
def test_specs(spec: Values, warnings: list[str]) -> None:
    whole = {"containers": [], **spec}
    labels = {"app": "web"}
    for path, obj in (
        ("spec.", pod("web", **whole)),
        (
            "spec.template.spec.",
            deployment(template={"metadata": {"labels": labels}, "spec": whole}),
        ),
    ):
        expected = [path + each.replace("{path}", path) for each in warnings]
        assert list(api_warnings(obj, None)) == expected


OLD = {
    "seccomp.security.alpha.kubernetes.io/pod": SECCOMP,
    "container.seccomp.security.alpha.kubernetes.io/c": SECCOMP,
    "container.apparmor.security.beta.kubernetes.io/c": APP_ARMOR,
}


def annotated(**spec: Any) -> Pod:
    made = pod("web", **{"containers": [{"name": "c", "image": "i"}], **spec})
    notes = {**dict.fromkeys(OLD, "x"), "container.seccomp.security.alpha.kubernetes.io/d": "x"}
    return replace(made, metadata=Metadata(name="web", annotations=notes))


def test_annotations_that_fields_replace() -> None:
    told = [f"metadata.annotations[{key}]: {why}" for key, why in OLD.items()]
    assert list(api_warnings(annotated(), None)) == told
    profiles = {"seccompProfile": {"type": "Unconfined"}, "appArmorProfile": {"type": "Unconfined"}}
    container = {"name": "c", "image": "i", "securityContext": profiles}
    assert list(api_warnings(annotated(containers=[container]), None)) == told[:1]
    assert list(api_warnings(annotated(securityContext=profiles), None)) == [told[1]]


def test_the_external_id_of_a_node() -> None:
    made = convert({"metadata": {"name": "n"}, "spec": {"externalID": "x"}}, Node)
    told = ("spec.externalID: this field is deprecated, and is unused by Kubernetes",)
    assert api_warnings(made, None) == api_warnings(made, made) == told
    assert api_warnings(convert({"metadata": {"name": "n"}}, Node), None) == ()
