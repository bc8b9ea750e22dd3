"""Labs whose objects go to an API by requests, and from there to each node's proxy by watches."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from kproxy.api.types import KubernetesObject, Service, ServicePort
from kproxy.errors import BadInput, KernelRefused
from kproxy.forwarding.network import Packet
from kproxy.lab import ClientSpec, LabSpec, NodeSpec, PodSpec, PortSpec, service, slices_for
from kproxy.probe import connect_many
from kproxy.resident.through_api import ThroughApi
from kproxy.testing import ProbedLab, delivered, refused
from netns_tests.run.running import until
from netns_tests.through_api import heard, not_by_requests
from netns_tests.up.machine import KPROXY, private_machine

POD = PodSpec(name="web", labels={"app": "web"}, ports=(PortSpec(port=8080),))
SPEC = LabSpec(
    nodes=(NodeSpec(name="node-a", pods=(POD,)), NodeSpec(name="node-b")),
    clients=(ClientSpec(name="outside"),),
)
ADDRESS = "10.96.0.99"
WEB = ("Service", "default", "web")


def web(port: int = 80) -> Service:
    ports = [ServicePort(port=port, target_port=8080)]
    return service("web", cluster_ips=[ADDRESS], ports=ports, selector={"app": "web"})


def objects(lab: ProbedLab, port: int = 80) -> list[KubernetesObject]:
    return [web(port), *slices_for(web(port), [lab.pods["web"]])]


@pytest.fixture
def source() -> ThroughApi:
    return ThroughApi()


@pytest.fixture
def lab(source: ThroughApi) -> Iterator[ProbedLab]:
    with ProbedLab(SPEC, "nftables", source=source) as up:
        yield up


def test_each_object_is_a_request_and_each_node_a_watch(source: ThroughApi) -> None:
    with heard() as asked, ProbedLab(SPEC, "nftables", source=source) as lab:
        assert (asked["POST", "nodes"], asked["POST", "pods"]) == (2, 1)
        for collection in ("nodes", "services", "endpointslices", "servicecidrs"):
            assert asked["WATCH", collection] == 2, collection
        lab.apply(objects(lab))
        assert lab.connect("node-b", ADDRESS, 80) == delivered("web")
        assert asked["POST", "services"] == asked["POST", "endpointslices"] == 1
        lab.replace(objects(lab, 81))
        assert lab.connect("node-b", ADDRESS, 81) == delivered("web")
        assert lab.connect("node-b", ADDRESS, 80) == refused()
        lab.replace(objects(lab, 81))  # there is nothing to write
        assert (asked["PUT", "services"], asked["PUT", "endpointslices"]) == (1, 0)
        lab.delete([WEB])
        assert lab.connect("node-b", ADDRESS, 81) == refused()
        assert asked["DELETE", "services"] == 1
        assert not any(verb in ("GET", "PATCH") for verb, _ in asked)


def test_proxies_know_what_the_api_has_and_nothing_else(source: ThroughApi, lab: ProbedLab) -> None:
    assert lab.apply(objects(lab)) == {}  # nothing was handed over
    assert lab.connect("node-b", ADDRESS, 80) == delivered("web")
    source.plane.delete(WEB)  # the lab is told nothing
    until("it is gone", lambda: lab.connect("node-b", ADDRESS, 80) == refused())
    with ProbedLab(SPEC, "nftables", fed=False) as alone:  # and nobody reads there
        alone.apply(objects(alone))
        (found,) = connect_many(alone, [Packet(client="node-b", address=ADDRESS, port=80)])
        assert not found.success


def test_what_proxies_do_not_ask_for_is_not_waited_for(source: ThroughApi, lab: ProbedLab) -> None:
    labels = {"service.kubernetes.io/service-proxy-name": "another"}
    foreign = replace(web(), metadata=replace(web().metadata, labels=labels))
    none = replace(web().spec, cluster_ip="None", cluster_ips=("None",))
    headless = replace(web(), metadata=replace(web().metadata, name="headless"), spec=none)
    lab.apply([headless, foreign])
    assert not not_by_requests(source.plane, [WEB, ("Service", "default", "headless")])
    assert lab.connect("node-b", ADDRESS, 80) == refused()
    lab.apply(objects(lab))  # it has no such label any more
    assert lab.connect("node-b", ADDRESS, 80) == delivered("web")


def test_a_stopped_proxy_learns_at_its_start_what_has_come_meanwhile(lab: ProbedLab) -> None:
    lab.stop_proxy("node-b")
    lab.apply(objects(lab))
    assert lab.connect("node-a", ADDRESS, 80) == delivered("web")
    assert lab.connect("node-b", ADDRESS, 80) == refused()
    lab.start_proxy("node-b")
    assert lab.connect("node-b", ADDRESS, 80) == delivered("web")


def test_a_sync_that_fails_is_told(lab: ProbedLab) -> None:
    def refuse(*_: object) -> None:
        raise KernelRefused("there is no memory")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab.proxy("node-b"), "sync", refuse)
        with pytest.raises(KernelRefused, match="there is no memory"):
            lab.apply(objects(lab))
    lab.apply(objects(lab, 81))
    assert lab.connect("node-b", ADDRESS, 81) == delivered("web")


def test_what_a_control_plane_refuses_is_said_as_by_kubectl(source: ThroughApi) -> None:
    wrong = service("wrong", cluster_ips=["192.0.2.1"], ports=[ServicePort(port=80)])
    named = LabSpec(nodes=SPEC.nodes, control_plane=True)
    with ProbedLab(named, "nftables", source=source) as lab:
        with pytest.raises(BadInput) as error:
            lab.apply([wrong, web()])
        (said,) = error.value.problems
        assert said.startswith('The Service "wrong" is invalid: spec.clusterIPs')
        lab.settle()
        assert lab.connect("node-b", ADDRESS, 80) == delivered("web")
        with pytest.raises(BadInput) as error:
            lab.scale("nothing", 1)
        assert 'deployments.apps "nothing" not found' in str(error.value)


def test_a_killed_run_leaves_what_is_cleaned() -> None:
    with private_machine() as machine:
        run = machine.argv(*KPROXY, "demo", "--source", "api")
        with subprocess.Popen(run, stderr=subprocess.PIPE) as demo:
            assert demo.stderr
            assert any(b"lab up in" in line for line in demo.stderr)
            assert [each["state"] for each in machine.values("ls")] == ["a run of kproxy"]
            demo.kill()
        machine.ok("clean", "--yes")
        assert machine.places() == []


def test_other_proxies_have_no_source(source: ThroughApi) -> None:
    with pytest.raises(BadInput, match="for the lab's own proxies"):
        ProbedLab(SPEC, None, source=source)
