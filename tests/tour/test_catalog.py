"""The examples of Services, and their comments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kproxy.api.manifests import load
from kproxy.api.types import Deployment, EndpointSlice, Pod, Service, ServiceSpec
from kproxy.lab import load_spec
from kproxy.tour import catalog
from kproxy.tour.steps import STEPS

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDER = EXAMPLES / catalog.FOLDER
ALL = catalog.known(FOLDER)
KINDS: dict[
    str, Callable[[ServiceSpec], bool]
] = {  # a feature of a Service -> the field of its spec that selects it
    "ClusterIP": lambda spec: spec.type == "ClusterIP" and spec.cluster_ip != "None",
    "headless": lambda spec: spec.cluster_ip == "None",
    "NodePort": lambda spec: spec.type == "NodePort",
    "LoadBalancer": lambda spec: spec.type == "LoadBalancer",
    "ExternalName": lambda spec: spec.type == "ExternalName",
    "externalIPs": lambda spec: bool(spec.external_ips),
    "sessionAffinity with a time-out": lambda spec: bool(spec.session_affinity_config),
    "internalTrafficPolicy Local": lambda spec: spec.internal_traffic_policy == "Local",
    "externalTrafficPolicy Local": lambda spec: spec.external_traffic_policy == "Local",
    "several ports, by name": lambda spec: (
        {"http", "metrics"} <= {port.target_port for port in spec.ports}
    ),
    "all protocols on one number": lambda spec: (
        {("TCP", 53), ("UDP", 53), ("SCTP", 53)}
        <= {(port.protocol, port.port) for port in spec.ports}
    ),
    "dual stack": lambda spec: spec.ip_family_policy == "RequireDualStack",
    "publishNotReadyAddresses": lambda spec: spec.publish_not_ready_addresses,
    "no selector": lambda spec: not spec.selector and spec.type == "ClusterIP",
    "trafficDistribution": lambda spec: spec.traffic_distribution == "PreferSameZone",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_service_has_an_example(kind: str) -> None:
    objects = [each for example in ALL for each in load([example.path]).objects]
    assert any(KINDS[kind](each.spec) for each in objects if isinstance(each, Service))


@pytest.mark.parametrize("example", ALL, ids=lambda example: example.name)
def test_an_example_is_a_manifest_that_says_what_it_is(example: catalog.Example) -> None:
    decoded = load([example.path])
    assert not decoded.problems
    assert any(isinstance(each, Service) for each in decoded.objects)
    assert any(isinstance(each, Deployment | Pod | EndpointSlice) for each in decoded.objects)
    assert {each.metadata.namespace for each in decoded.objects} == {"default"}
    head = [line for line in example.path.read_text().splitlines() if line.startswith("#")]
    assert 4 <= len(head) <= 8
    assert example.title
    assert len(example.text) == 1


def test_the_lab_is_valid() -> None:
    assert load_spec(EXAMPLES / catalog.LAB).control_plane


def test_steps_are_of_examples() -> None:
    assert STEPS.keys() <= {example.name for example in ALL}


def test_a_manifest_is_found_by_its_path(tmp_path: Path) -> None:
    manifest = tmp_path / "mine.yaml"
    manifest.write_text("# Mine.\n#\n# It is\n#   mine.\n#\n# Really.\nkind: List\n")
    found = catalog.find(FOLDER, str(manifest))
    assert found == catalog.Example(
        name="mine.yaml", path=manifest, title="Mine.", text=("It is mine.", "Really.")
    )


def test_a_manifest_may_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "mute.yaml").write_text("kind: List\n")
    found = catalog.find(FOLDER, str(tmp_path / "mute.yaml"))
    assert found
    assert (found.title, found.text) == ("", ())


@pytest.mark.parametrize("wanted", ["nonesuch", "nonesuch.yaml", "../lab/services", ""])
def test_what_is_neither_is_not_found(wanted: str) -> None:
    assert catalog.find(FOLDER, wanted) is None
