"""Objects that an API server would refuse are refused by field, and nothing is applied."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kproxy.errors import BadInput
from kproxy.lab import Lab, LabSpec, NodeSpec
from netns_tests.control_plane.plane_lab import (
    PlaneLab,
    check_served,
    deployment,
    everything,
    objects,
)

GOOD = """
apiVersion: v1
kind: Service
metadata: {name: good}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: web-1}
spec: {containers: [{name: answer, image: "answer:1", ports: [{containerPort: 81}]}]}
"""
FIXED = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    " `metadata.labels` and `metadata.annotations`"
)


def a_service(spec: str, name: str = "bad") -> str:
    return f"\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"


def a_deployment(spec: str, *, labels: str = "{app: web}", name: str = "web") -> str:
    template = f"{{metadata: {{labels: {labels}}}, spec: {{containers: [{{name: a, image: b}}]}}}}"
    return (
        f"\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\n"
        f"spec: {{{spec}, template: {template}}}\n"
    )


PORT = "ports: [{port: 80}]"
NO_ROOM = "the provided network does not match the current range"
REFUSED = {  # the fault -> the manifest; the lab has `web` and its Service
    'Service "bad" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.5"]: failed to allocate'
    " IP 10.96.0.5: provided IP is already allocated": a_service(f"clusterIP: 10.96.0.5, {PORT}"),
    'Service "bad" is invalid: spec.clusterIPs: Invalid value: ["10.97.0.5"]: failed to allocate'
    f" IP 10.97.0.5: {NO_ROOM}": a_service(f"clusterIP: 10.97.0.5, {PORT}"),
    'Service "bad" is invalid: spec.ports[0].nodePort: Invalid value: 30001: provided port is'
    " already allocated": a_service("type: NodePort, ports: [{port: 80, nodePort: 30001}]"),
    'Service "bad" is invalid: spec.ports[0].nodePort: Invalid value: 20000: provided port is not'
    " in the valid range. The range of valid ports is 30000-30007": a_service(
        "type: NodePort, ports: [{port: 80, nodePort: 20000}]"
    ),
    'Service "web" is invalid: spec.clusterIPs[0]: Invalid value: ["10.96.0.6"]: may not change'
    " once set": a_service(f"type: NodePort, clusterIP: 10.96.0.6, {PORT}", name="web"),
    'Service "bad" is invalid: spec.ports: Required value': a_service("ports: []"),
    'Service "bad" is invalid: spec.type: Unsupported value: "Best": supported values:'
    ' "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"': a_service(f"type: Best, {PORT}"),
    'Deployment.apps "web" is invalid: spec.selector: Invalid value:'
    ' {"matchLabels":{"app":"shop"}}: field is immutable': a_deployment(
        "selector: {matchLabels: {app: shop}}", labels="{app: shop}"
    ),
    f'Pod "web-1" is invalid: spec.containers[0].ports: {FIXED}': POD,
}
TAKEN = "type: NodePort, clusterIP: 10.96.0.5, selector: {app: web}, ports: [{port: 80, "
IN_USE = a_service(TAKEN + "targetPort: 8080, nodePort: 30001}]", name="web")
NO_SERVICE = 'Service in version "v1" cannot be handled as a Service: '
FIELD = "Go struct field ServiceSpec.spec.ports"
MALFORMED = [
    (
        a_service("ports: {}", name="worse"),
        f"{NO_SERVICE}json: cannot unmarshal object into {FIELD} of type []v1.ServicePort",
    ),
    (
        a_service(f"port: 80, {PORT}"),
        f'{NO_SERVICE}strict decoding error: unknown field "spec.port"',
    ),
    (
        a_deployment("selector: {matchLabels: {app: shop}}"),
        "spec.template.metadata.labels: `selector` does not match template `labels`",
    ),
    (
        a_deployment("replicas: -1, selector: {matchLabels: {app: web}}", name="fewer"),
        "spec.replicas: -1 must be greater than or equal to 0",
    ),
]
WEB = ("Service", "default", "web")
Verb = Callable[[PlaneLab], object]
NOT_THERE: dict[str, Verb] = {
    'services "nobody" not found': lambda lab: lab.delete([WEB, ("Service", "default", "nobody")]),
    'deployments.apps "nobody" not found': lambda lab: lab.scale("nobody", 3),
    "spec.replicas: Invalid value: -1": lambda lab: lab.scale("web", -1),
    "no pod web-2 of namespace default runs": lambda lab: lab.pod("web-2"),
    "there is no Pod web-2 in namespace 'default'": lambda lab: lab.get("Pod", "web-2"),
    "/no/such: no such file or folder": lambda lab: lab.apply("/no/such"),
}


def use(lab: PlaneLab) -> None:
    lab.apply([deployment(replicas=1), *objects(IN_USE)])


def try_refused(lab: PlaneLab, told: str) -> None:
    """Check that a manifest is refused among good ones, and with another bad one."""
    bad = objects(REFUSED[told])
    other = objects(a_service(f"clusterIP: 10.96.9.9, {PORT}", name="worse"))
    with pytest.raises(BadInput) as refused:
        lab.apply([*objects(GOOD), *bad, deployment("shop"), *other])
    assert refused.value.problems[0] == told
    assert len(refused.value.problems) == 2


def try_malformed(lab: PlaneLab, manifest: Path) -> None:
    manifest.write_text("---".join([GOOD, *(text for text, _ in MALFORMED), POD]))
    with pytest.raises(BadInput) as refused:
        lab.apply(manifest)
    places = rf"^{re.escape(str(manifest))}:\d+: (\w+ [^:]+: )?"
    assert [re.sub(places, "", each) for each in refused.value.problems] == [
        *(told for _, told in MALFORMED),
        f'Pod "web-1" is invalid: spec.containers[0].ports: {FIXED}',
    ]


@pytest.mark.parametrize("told", REFUSED)
def test_what_is_refused(bare_lab: PlaneLab, told: str) -> None:
    use(bare_lab)
    before = bare_lab.objects_by_key()
    try_refused(bare_lab, told)
    assert bare_lab.objects_by_key() == before


@pytest.mark.parametrize("told", NOT_THERE)
def test_what_is_not_there(bare_lab: PlaneLab, told: str) -> None:
    use(bare_lab)
    before = bare_lab.objects_by_key()
    with pytest.raises(BadInput, match=told):
        NOT_THERE[told](bare_lab)
    assert bare_lab.objects_by_key() == before


def test_nothing_is_half_applied(lab: PlaneLab, tmp_path: Path) -> None:
    """Whatever the fault, kernels and clients do not notice."""
    use(lab)
    before = everything(lab)
    for told in REFUSED:
        try_refused(lab, told)
    try_malformed(lab, tmp_path / "web.yaml")
    assert everything(lab) == before
    check_served(lab, "web-1")


def test_all_objects_of_a_file_are_judged(bare_lab: PlaneLab, tmp_path: Path) -> None:
    """As kubectl submits the others, too, after one that does not decode."""
    manifest = tmp_path / "web.yaml"
    services = (
        "\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {portz: []}\n",
        "\napiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {ports: [{port: 0}]}\n",
    )
    manifest.write_text("---".join(services))
    with pytest.raises(BadInput) as refused:
        bare_lab.apply(manifest)
    first, second = refused.value.problems
    assert first.endswith('strict decoding error: unknown field "spec.portz"')
    assert second.startswith('Service "b" is invalid: [spec.ports[0].port: Invalid value: 0: ')


def test_other_kinds_are_none_of_our_business(bare_lab: PlaneLab, tmp_path: Path) -> None:
    manifest = tmp_path / "web.yaml"
    other = "\napiVersion: batch/v1\nkind: Job\nmetadata: {name: web}\nspec: {a: b}\n"
    manifest.write_text("---".join([other, GOOD, other]))
    bare_lab.apply(manifest)
    assert bare_lab.vips("good")


def test_a_lab_without_a_control_plane() -> None:
    with Lab(LabSpec(nodes=(NodeSpec(name="node-a"),))) as lab:
        for verb in (
            lambda: lab.apply([deployment()]),
            lambda: lab.scale("web", 1),
            lambda: lab.pod("web-1"),
            lambda: lab.get("Pod", "web-1"),
            lambda: lab.wait_for(lambda: True),
        ):
            with pytest.raises(BadInput) as refused:
                verb()
            assert "control_plane=True" in refused.value.remedy
        assert not lab.warnings
