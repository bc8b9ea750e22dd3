"""Pods, templates, selectors, strategies and taints are judged in the API server's words."""

from __future__ import annotations

import pytest

from kproxy.controlplane.plane import Json, Refused
from tests.controlplane.api import POD_SPEC, TEMPLATE, VERSIONS, WORKLOAD, Api, document

WORKLOADS = sorted(set(VERSIONS) - {"Lease", "NetworkPolicy"})
MAIN: Json = {"name": "main", "image": "web:1"}
IN_A_CONTAINER: list[tuple[Json, str]] = [
    ({"name": ""}, "name: Required value"),
    ({"image": None}, "image: Required value"),
    ({"image": " x"}, 'image: Invalid value: " x": must not have leading or trailing whitespace'),
    (
        {"imagePullPolicy": "Now"},
        (
            'imagePullPolicy: Unsupported value: "Now": supported values: "Always", "IfNotPresent",'
            ' "Never"'
        ),
    ),
    (
        {"terminationMessagePolicy": "X"},
        (
            'terminationMessagePolicy: Unsupported value: "X": supported values: "File",'
            ' "FallbackToLogsOnError"'
        ),
    ),
    (
        {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1500M"}}},
        (
            'resources.requests: Invalid value: "2Gi": must be less than or equal to memory limit'
            " of 1500M"
        ),
    ),
    (
        {"resources": {"limits": {"cpu": "-1"}}},
        'resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0',
    ),
    ({"ports": [{}]}, "ports[0].containerPort: Required value"),
    (
        {"ports": [{"containerPort": 70000}]},
        "ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
    ),
    (
        {"ports": [{"containerPort": 80, "protocol": "udp"}]},
        'ports[0].protocol: Unsupported value: "udp": supported values: "SCTP", "TCP", "UDP"',
    ),
    (
        {"ports": [{"containerPort": each, "name": "a"} for each in (80, 81)]},
        'ports[1].name: Duplicate value: "a"',
    ),
    ({"env": [{"value": "x"}]}, "env[0].name: Required value"),
    (
        {"env": [{"name": "a=b"}]},
        (
            'env[0].name: Invalid value: "a=b": a valid environment variable name must consist only'
            " of printable ASCII characters other than '='"
        ),
    ),
    (
        {"env": [{"name": "a", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
        'env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty',
    ),
    (
        {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
        'volumeMounts[0].name: Not found: "v"',
    ),
]
IN_A_SPEC: list[tuple[Json, str]] = [
    (
        {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
        (
            'tolerations[0].operator: Invalid value: {"Key":"a","Operator":"Exists","Value":"b",'
            '"Effect":"","TolerationSeconds":null}: value must be empty when `operator` is'
            " 'Exists'"
        ),
    ),
    (
        {"tolerations": [{"operator": "Equal", "value": "b"}]},
        (
            'tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is'
            ' empty, which means "match all values and all keys"'
        ),
    ),
    (
        {"tolerations": [{"key": "a", "operator": "Is"}]},
        'tolerations[0].operator: Unsupported value: "Is": supported values: "Equal", "Exists"',
    ),
    (
        {"tolerations": [{"key": "a", "effect": "Never"}]},
        (
            'tolerations[0].effect: Unsupported value: "Never": supported values: "NoSchedule",'
            ' "PreferNoSchedule", "NoExecute"'
        ),
    ),
    (
        {"tolerations": [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 3}]},
        (
            "tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when"
            " `tolerationSeconds` is set"
        ),
    ),
    ({"containers": []}, "containers: Required value"),
    ({"containers": [MAIN, MAIN]}, 'containers[1].name: Duplicate value: "main"'),
    ({"initContainers": [MAIN]}, 'initContainers[0].name: Duplicate value: "main"'),
    (
        {"restartPolicy": "X"},
        'restartPolicy: Unsupported value: "X": supported values: "Always", "OnFailure", "Never"',
    ),
    (
        {"dnsPolicy": "X"},
        (
            'dnsPolicy: Unsupported value: "X": supported values: "ClusterFirst",'
            ' "ClusterFirstWithHostNet", "Default", "None"'
        ),
    ),
    (
        {"dnsPolicy": "None"},
        "dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
    ),
    (
        {"activeDeadlineSeconds": 0},
        "activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
    ),
    ({"volumes": [{"name": "v"}] * 2}, 'volumes[1].name: Duplicate value: "v"'),
]
SPECS = IN_A_SPEC + [
    ({"containers": [{**MAIN, **values}]}, f"containers[0].{told}")
    for values, told in IN_A_CONTAINER
]


def refused(api: Api, kind: str, spec: Json) -> list[str]:
    with pytest.raises(Refused) as error:
        api.verbs.create(document(kind, spec=spec), dry_run=True)
    assert (error.value.status, error.value.reason) == (422, "Invalid")
    return [f"{each.field}: {each.message}" for each in error.value.causes]


@pytest.mark.parametrize(("spec", "told"), SPECS)
def test_pods_and_their_templates(spec: Json, told: str) -> None:
    api = Api()
    assert refused(api, "Pod", {**POD_SPEC, **spec}) == [f"spec.{told}"]
    template = {**TEMPLATE, "spec": {**POD_SPEC, **spec}}
    for kind in WORKLOADS:
        found = refused(api, kind, {**WORKLOAD, "template": template})
        assert found == [f"spec.template.spec.{told}"]


def test_a_stateful_set_mounts_what_its_pods_claim() -> None:
    mounts = [{"name": "data", "mountPath": "/data"}]
    template = {**TEMPLATE, "spec": {**POD_SPEC, "containers": [{**MAIN, "volumeMounts": mounts}]}}
    claims = [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]
    spec = {**WORKLOAD, "serviceName": "db", "template": template, "volumeClaimTemplates": claims}
    made, _ = Api().verbs.create(document("StatefulSet", spec=spec))
    assert made["spec"]["volumeClaimTemplates"][0]["metadata"]["name"] == "data"


@pytest.mark.parametrize("kind", WORKLOADS)
def test_workloads(kind: str) -> None:
    api = Api()
    template = {**TEMPLATE, "spec": {**POD_SPEC, "restartPolicy": "Never"}}
    field = "spec.template.spec.restartPolicy"
    told = f'{field}: Unsupported value: "Never": supported values: "Always"'
    assert refused(api, kind, {**WORKLOAD, "template": template}) == [told]
    labels = WORKLOAD["selector"]
    for wanted, told in (
        ({"operator": "Is"}, 'operator: Invalid value: "Is": not a valid selector operator'),
        (
            {"operator": "NotIn"},
            "values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ),
        (
            {"operator": "Exists", "values": ["x"]},
            "values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
    ):
        selector = {**labels, "matchExpressions": [{"key": "app", **wanted}]}
        found = refused(api, kind, {**WORKLOAD, "selector": selector})
        assert f"spec.selector.matchExpressions[0].{told}" in found


@pytest.mark.parametrize(
    ("kind", "field", "value", "told"),
    [
        (
            "Deployment",
            "strategy",
            {"type": "X"},
            'Unsupported value: {"type":"X"}: supported values: "Recreate", "RollingUpdate"',
        ),
        (
            "DaemonSet",
            "updateStrategy",
            {"type": "X"},
            'Unsupported value: {"type":"X"}: supported values: "RollingUpdate", "OnDelete"',
        ),
        (
            "StatefulSet",
            "updateStrategy",
            {"type": "X"},
            "Invalid value: {\"type\":\"X\"}: must be 'RollingUpdate' or 'OnDelete'",
        ),
        (
            "StatefulSet",
            "podManagementPolicy",
            "X",
            "Invalid value: \"X\": must be 'OrderedReady' or 'Parallel'",
        ),
    ],
)
def test_strategies(kind: str, field: str, value: object, told: str) -> None:
    assert refused(Api(), kind, {**WORKLOAD, field: value}) == [f"spec.{field}: {told}"]


def test_taints() -> None:
    taints = [{"key": "a b", "effect": "Now"}, *[{"key": "a", "effect": "NoExecute"}] * 2]
    [key, effect, twice] = refused(Api(), "Node", {"taints": taints})
    assert key.startswith('metadata.taints[0].key: Invalid value: "a b": name part must consist')
    assert effect == (
        'metadata.taints[0].effect: Unsupported value: "Now": supported values: "NoSchedule",'
        ' "PreferNoSchedule", "NoExecute"'
    )
    assert twice == (
        'metadata.taints[2]: Duplicate value: {"key":"a","effect":"NoExecute"}:'
        " taints must be unique by key and effect pair"
    )


def test_a_pod_may_not_change_but_for_some_fields() -> None:
    api = Api(document("Pod", spec={**POD_SPEC, "volumes": [{"name": "v"}]}))
    with pytest.raises(Refused) as error:
        api.edit("Pod", volumes=[{"name": "v", "hostPath": {"path": "/"}}])
    [cause] = error.value.causes
    assert (cause.reason, cause.field) == ("FieldValueForbidden", "spec.volumes")
    with pytest.raises(Refused) as error:
        api.edit("Pod", containers=[{**POD_SPEC["containers"][0], "image": ""}])
    assert [each.field for each in error.value.causes] == ["spec.containers[0].image"]
    one, two = ({"key": each, "operator": "Exists"} for each in "ab")
    assert api.edit("Pod", tolerations=[one])["spec"]["tolerations"] == [one]
    api.edit("Pod", tolerations=[two, one], activeDeadlineSeconds=5)
    with pytest.raises(Refused) as error:
        api.edit("Pod", tolerations=[two])
    assert [each.field for each in error.value.causes] == ["spec.tolerations"]


def test_a_field_that_is_missing_is_named() -> None:
    path = {"path": "/", "backend": {"service": {"name": "web", "port": {"number": 80}}}}
    ingress = {**document("Ingress"), "apiVersion": "networking.k8s.io/v1"}
    with pytest.raises(Refused) as error:
        Api().verbs.create({**ingress, "spec": {"rules": [{"http": {"paths": [path]}}]}})
    assert (error.value.status, error.value.reason) == (422, "Invalid")
    [cause] = error.value.causes
    assert cause.field == "spec.rules[0].http.paths[0].pathType"
    assert cause.message == "Required value: pathType must be specified"
