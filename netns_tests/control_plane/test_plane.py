"""Documents written through a lab's plane: pods run, and clients get answers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

from kproxy.controlplane.plane import DeleteOptions, Json, Write
from kproxy.lab.cluster.control_plane import ControlPlane
from netns_tests.control_plane.plane_lab import PlaneLab, check_served, known

LABELS = {"app": "web"}
PORTS = [{"name": "web", "containerPort": 8080}, {"containerPort": 8080, "protocol": "UDP"}]
CONTAINER: Json = {"name": "main", "image": "answer:1", "command": ["serve"], "ports": PORTS}
SERVICE: Json = {
    "type": "LoadBalancer",
    "ipFamilyPolicy": "PreferDualStack",
    "selector": LABELS,
    "ports": [
        {"name": "http", "port": 80, "targetPort": 8080},
        {"name": "udp", "port": 80, "targetPort": 8080, "protocol": "UDP"},
    ],
}


def document(kind: str, version: str = "v1", name: str = "web", **parts: Any) -> Json:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **parts}


def workload(kind: str, **spec: Any) -> Json:
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [CONTAINER]}}
    whole = {"selector": {"matchLabels": LABELS}, "template": template, **spec}
    return document(kind, "apps/v1", spec=whole)


def status(lab: PlaneLab, kind: str) -> Json:
    found = lab.plane.get((kind, "default", "web"))
    return (found or {}).get("status") or {}


def running(lab: PlaneLab) -> list[str]:
    return [each for each in lab.pods if each.startswith("web-")]


def test_a_deployment_and_a_service_answer(lab: PlaneLab) -> None:
    plane = lab.plane
    seen: list[Write] = []
    plane.follow(seen.append)
    plane.create(workload("Deployment", replicas=3))
    plane.create(document("Service", spec=SERVICE))
    lab.wait_for(lambda: status(lab, "Deployment").get("readyReplicas") == 3)
    check_served(lab, "web-1", "web-2", "web-3")
    assert [write.revision for write in seen] == sorted({write.revision for write in seen})

    stored = plane.get(("Deployment", "default", "web"))
    assert stored
    template = stored["spec"]["template"]
    spec = {**template["spec"], "containers": [{**CONTAINER, "command": ["other"]}]}
    changed = {**stored["spec"], "template": {**template, "spec": spec}}
    found, _ = plane.update({**stored, "spec": changed}, version="")
    generation = found["metadata"]["generation"]

    def rolled_out() -> bool:
        now = status(lab, "Deployment")
        counts = (now.get("updatedReplicas"), now.get("replicas"), now.get("availableReplicas"))
        return now.get("observedGeneration") == generation and counts == (3, 3, 3)

    lab.wait_for(rolled_out)
    lab.wait_for(lambda: len(running(lab)) == 3)
    check_served(lab, *running(lab))

    addresses = lab.addresses(*running(lab))
    plane.delete(("Deployment", "default", "web"), DeleteOptions("Foreground"))
    lab.wait_for(lambda: plane.get(("Deployment", "default", "web")) is None)
    lab.wait_for(lambda: not running(lab))
    assert not known(lab, addresses)


def test_a_stateful_set_and_a_daemon_set_run(lab: PlaneLab) -> None:
    plane = lab.plane
    plane.create(document("Service", spec=SERVICE))
    plane.create(workload("StatefulSet", replicas=2, serviceName="web"))
    lab.wait_for(lambda: status(lab, "StatefulSet").get("readyReplicas") == 2)
    check_served(lab, "web-0", "web-1")
    plane.delete(("StatefulSet", "default", "web"))
    lab.wait_for(lambda: not running(lab))
    plane.create(workload("DaemonSet"))
    lab.wait_for(lambda: status(lab, "DaemonSet").get("numberReady") == 3)
    check_served(lab, "web-1", "web-2", "web-3")
    assert {lab.pods[each].node for each in running(lab)} == {*lab.nodes}


def test_a_node_without_a_kubelet_runs_nothing(bare_lab: PlaneLab) -> None:
    plane = bare_lab.plane
    events: list[str] = []
    plane.follow(lambda write: events.append((write.document or {}).get("reason", "")))
    plane.create(document("Node", name="elsewhere"))
    plane.create(workload("DaemonSet"))
    bare_lab.wait_for(lambda: status(bare_lab, "DaemonSet").get("numberReady") == 3)
    assert status(bare_lab, "DaemonSet")["desiredNumberScheduled"] == 4
    bare_lab.wait_for(lambda: "FailedCreatePodSandBox" in events)
    plane.delete(("DaemonSet", "default", "web"))
    plane.delete(("Node", "", "elsewhere"))
    bare_lab.wait_for(lambda: not running(bare_lab))


def test_a_pod_that_takes_the_name_of_one_deleted_at_once(bare_lab: PlaneLab) -> None:
    plane, key = bare_lab.plane, ("Pod", "default", "web-1")
    pod = document("Pod", name="web-1", spec={"containers": [CONTAINER]})

    def address() -> str:
        return str(((plane.get(key) or {}).get("status") or {}).get("podIP") or "")

    plane.create(pod)
    bare_lab.wait_for(lambda: bool(address()))
    for _ in range(3):
        former = bare_lab.pods["web-1"].namespace.cookie
        plane.delete(key, DeleteOptions(grace_s=0))
        plane.create(pod)
        bare_lab.wait_for(lambda: bool(address()))
        assert bare_lab.pods["web-1"].namespace.cookie != former
    node = plane.get(("Node", "", bare_lab.pods["web-1"].node))
    assert node
    plane.delete(("Node", "", node["metadata"]["name"]))
    plane.delete(key, DeleteOptions(grace_s=0))
    plane.create({**pod, "spec": {**pod["spec"], "nodeName": "elsewhere"}})
    bare_lab.wait_for(lambda: not running(bare_lab))
    plane.create(node)


def test_what_an_api_created_is_replaced_like_the_rest(bare_lab: PlaneLab) -> None:
    bare_lab.plane.create(workload("ReplicaSet", replicas=2))
    bare_lab.wait_for(lambda: len(running(bare_lab)) == 2)
    bare_lab.replace([])
    assert running(bare_lab) == []
    assert bare_lab.plane.get(("ReplicaSet", "default", "web")) is None


def test_writes_do_not_wait_for_what_is_going_on(bare_lab: PlaneLab) -> None:
    """A write is answered while the control plane's own lock is held by another thread."""
    control_plane = bare_lab._parts.objects
    assert isinstance(control_plane, ControlPlane)

    def written() -> bool:  # called with that lock held
        stored, _ = bare_lab.plane.create(document("ConfigMap", data={"a": "b"}))
        return bool(stored["data"] == {"a": "b"})

    assert bare_lab.wait_for(written)
    bare_lab.plane.delete(("ConfigMap", "default", "web"))


@contextmanager
def written_to(lab: PlaneLab) -> Iterator[None]:
    """Let somebody write ConfigMaps without a pause during the block."""
    ended, begun = Event(), Event()

    def write() -> int:
        count = 0
        while not ended.is_set():
            lab.plane.create(document("ConfigMap", name=f"map-{count}"))
            count += 1
            begun.set()
        return count

    with ThreadPoolExecutor() as pool:
        writing = pool.submit(write)
        try:
            assert begun.wait(10) or writing.result(0)
            yield
        finally:
            ended.set()
        for number in range(writing.result()):
            lab.plane.delete(("ConfigMap", "default", f"map-{number}"))


def cluster_ips(lab: PlaneLab, *names: str) -> list[str]:
    found = [lab.plane.get(("Service", "default", name)) for name in names]
    return [address for each in found if each for address in each["spec"]["clusterIPs"]]


def test_many_services_at_once_are_in_force_in_the_end(lab: PlaneLab) -> None:
    """While others write, too; and so are changes of some of them that came in between."""
    names = [f"web-{number}" for number in range(5)]
    lab.plane.create(workload("Deployment", replicas=1))
    with written_to(lab):
        for name in names:
            lab.plane.create(document("Service", name=name, spec=SERVICE))
        gone = cluster_ips(lab, names[0])
        lab.plane.delete(("Service", "default", names[0]))
        lab.plane.delete(("Service", "default", names[1]))
        lab.plane.create(document("Service", name=names[1], spec=SERVICE))
    lab.wait_for(lambda: status(lab, "Deployment").get("readyReplicas") == 1)
    wanted = {*cluster_ips(lab, *names[1:])}
    assert len(wanted) == 8
    lab.wait_for(lambda: known(lab, wanted) == wanted)
    lab.wait_for(lambda: not known(lab, {*gone} - wanted))
    for name in names[1:]:
        check_served(lab, "web-1", by=name)


def test_who_waits_finds_what_was_written_before_in_force(lab: PlaneLab) -> None:
    """Although somebody writes all the time, so that nobody would hurry."""
    control_plane = lab._parts.objects
    assert isinstance(control_plane, ControlPlane)
    lab.plane.create(workload("Deployment", replicas=1))
    lab.wait_for(lambda: status(lab, "Deployment").get("readyReplicas") == 1)
    with written_to(lab):
        for name in ("web-1", "web-2", "web-3"):
            lab.plane.create(document("Service", name=name, spec=SERVICE))
            control_plane.settle()
            wanted = {*cluster_ips(lab, name)}
            assert len(wanted) == 2
            assert known(lab, wanted) == wanted
