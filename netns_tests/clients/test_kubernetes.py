"""The client `kubernetes`: objects, watches, an informer, streams, elections."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config, dynamic, stream, watch
from kubernetes.informer import SharedInformer
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

from netns_tests.clients.served import TIMEOUT_S, Served
from netns_tests.run.running import until


@pytest.fixture(scope="module")
def api(lab: Served) -> Iterator[Any]:
    config.load_kube_config(str(lab.kubeconfig))
    with client.ApiClient() as found:
        yield found


@pytest.fixture
def core(api: Any) -> Any:
    return client.CoreV1Api(api)


def config_map(name: str, **data: str) -> Any:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data=data)


def test_objects_are_made_changed_and_deleted(core: Any, namespace: str) -> None:
    made = core.create_namespaced_config_map(namespace, config_map("greeting", text="hello"))
    assert made.metadata.uid
    patched = core.patch_namespaced_config_map("greeting", namespace, {"data": {"to": "you"}})
    assert patched.data == {"text": "hello", "to": "you"}
    patched.data = {"text": "bye"}
    replaced = core.replace_namespaced_config_map("greeting", namespace, patched)
    assert replaced.data == {"text": "bye"}
    with pytest.raises(client.ApiException) as conflict:  # `made` is not the newest any more
        core.replace_namespaced_config_map("greeting", namespace, made)
    assert (conflict.value.status, conflict.value.reason) == (409, "Conflict")
    core.delete_namespaced_config_map("greeting", namespace)
    with pytest.raises(client.ApiException) as missing:
        core.read_namespaced_config_map("greeting", namespace)
    assert missing.value.status == 404


def test_lists_by_selectors_and_in_pages(core: Any) -> None:
    pods = core.list_namespaced_pod("default", label_selector="app=web")
    assert all(each.status.pod_ip for each in pods.items)
    on_one = core.list_pod_for_all_namespaces(field_selector="spec.nodeName=node-a")
    assert {each.spec.node_name for each in on_one.items} == {"node-a"}
    first = core.list_service_for_all_namespaces(limit=1)
    rest = core.list_service_for_all_namespaces(_continue=first.metadata._continue)
    every = core.list_service_for_all_namespaces()
    assert [each.metadata.uid for each in [*first.items, *rest.items]] == [
        each.metadata.uid for each in every.items
    ]


def test_server_side_apply_by_the_dynamic_client(api: Any, namespace: str) -> None:
    kinds = dynamic.DynamicClient(api).resources.get(api_version="v1", kind="ConfigMap")
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "shared"},
        "data": {"text": "hello"},
    }
    kinds.server_side_apply(body=body, namespace=namespace, field_manager="one")
    body["data"] = {"text": "bye"}
    with pytest.raises(dynamic.exceptions.ConflictError):
        kinds.server_side_apply(body=body, namespace=namespace, field_manager="two")
    applied = kinds.server_side_apply(
        body=body, namespace=namespace, field_manager="two", force_conflicts=True
    )
    assert applied.data.text == "bye"
    assert [each.manager for each in applied.metadata.managedFields] == ["two"]


def test_watch_from_a_list(core: Any, namespace: str) -> None:
    listed = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.create_namespaced_config_map(namespace, config_map("seen"))
    core.patch_namespaced_config_map("seen", namespace, {"data": {"a": "b"}})
    core.delete_namespaced_config_map("seen", namespace)
    found = []
    for event in watch.Watch().stream(
        core.list_namespaced_config_map,
        namespace,
        resource_version=listed,
        timeout_seconds=TIMEOUT_S,
        field_selector="metadata.name=seen",
    ):
        found.append(event["type"])
        if event["type"] == "DELETED":
            break
    assert found == ["ADDED", "MODIFIED", "DELETED"]


def test_informer(core: Any, namespace: str) -> None:
    core.create_namespaced_config_map(namespace, config_map("before"))
    informer = SharedInformer(core.list_namespaced_config_map, namespace=namespace)
    told = []
    for kind in ("ADDED", "MODIFIED", "DELETED"):
        informer.add_event_handler(
            kind, lambda each, kind=kind: told.append((kind, each.metadata.name))
        )
    informer.start()
    try:
        until("it is told of the first", lambda: ("ADDED", "before") in told)
        core.create_namespaced_config_map(namespace, config_map("after"))
        until("it is told of the second", lambda: ("ADDED", "after") in told)
        core.delete_namespaced_config_map("before", namespace)
        until("it is told of the end", lambda: ("DELETED", "before") in told)
        assert {each.metadata.name for each in informer.cache.list()} >= {"after"}
    finally:
        informer.stop()


def test_a_deployment_is_scaled_and_its_pods_follow(api: Any, core: Any, namespace: str) -> None:
    apps = client.AppsV1Api(api)
    labels = {"app": "shop"}
    container = client.V1Container(name="shop", image="none")
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container])
    )
    wanted = client.V1Deployment(
        metadata=client.V1ObjectMeta(name="shop"),
        spec=client.V1DeploymentSpec(
            replicas=1, selector=client.V1LabelSelector(match_labels=labels), template=template
        ),
    )
    apps.create_namespaced_deployment(namespace, wanted)
    scale = apps.patch_namespaced_deployment_scale("shop", namespace, {"spec": {"replicas": 3}})
    assert scale.spec.replicas == 3
    until(
        "three are ready",
        lambda: (
            apps.read_namespaced_deployment_status("shop", namespace).status.ready_replicas == 3
        ),
    )
    apps.delete_namespaced_deployment("shop", namespace)
    until("no pod is left", lambda: not core.list_namespaced_pod(namespace).items)


def executed(core: Any, script: str, *, stdin: bool) -> Any:
    return stream.stream(
        core.connect_get_namespaced_pod_exec,
        "shell",
        "default",
        command=["sh", "-c", script],
        stdin=stdin,
        stdout=True,
        stderr=True,
        tty=False,
        _preload_content=False,
    )


def test_exec_in_a_pod(core: Any) -> None:
    said = executed(core, "hostname; echo careful >&2; cat; exit 3", stdin=True)
    said.write_stdin("typed\n")
    until("the answer", lambda: "typed" in said.peek_stdout(timeout=1))
    said.close()
    short = executed(core, "echo out; echo err >&2; exit 3", stdin=False)
    short.run_forever(timeout=TIMEOUT_S)
    assert (short.read_stdout(), short.read_stderr()) == ("out\n", "err\n")
    assert short.returncode == 3
    short.close()


def test_port_forward_to_a_pod(core: Any) -> None:
    pod = core.list_namespaced_pod("default", label_selector="app=web").items[0]
    forward = stream.portforward(
        core.connect_get_namespaced_pod_portforward, pod.metadata.name, "default", ports="8080"
    )
    connection = forward.socket(8080)
    connection.settimeout(TIMEOUT_S)
    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
    answer = b""
    while chunk := connection.recv(4096):
        answer += chunk
    assert pod.metadata.name.encode() in answer
    assert forward.error(8080) is None
    connection.close()
    until("the end", lambda: not forward.connected)


class Candidate:
    """A candidate in a thread, and its lock. One that is `silent` renews its lease no more, and
    then ends.
    """

    def __init__(self, name: str, namespace: str) -> None:
        self.leads, self.silent = threading.Event(), threading.Event()
        self._lock: Any = LeaseLock("election", namespace, name)
        self.name, self.namespace, self.identity = "election", namespace, name
        self.get, self.create = self._lock.get, self._lock.create
        election = electionconfig.Config(
            self,
            lease_duration=2,
            renew_deadline=1.5,
            retry_period=1,
            onstarted_leading=self.leads.set,
            onstopped_leading=lambda: None,
        )
        self.thread = threading.Thread(target=leaderelection.LeaderElection(election).run)
        self.thread.start()

    def update(self, *arguments: Any) -> Any:
        return not self.silent.is_set() and self._lock.update(*arguments)


@pytest.mark.usefixtures("api")
def test_the_next_candidate_leads_when_the_leader_is_silent(namespace: str) -> None:
    first = Candidate("first", namespace)
    assert first.leads.wait(TIMEOUT_S)
    second = Candidate("second", namespace)
    leases = client.CoordinationV1Api()
    assert leases.read_namespaced_lease("election", namespace).spec.holder_identity == "first"
    assert not second.leads.is_set()
    first.silent.set()
    assert second.leads.wait(TIMEOUT_S)
    assert leases.read_namespaced_lease("election", namespace).spec.holder_identity == "second"
    second.silent.set()
    for each in (first, second):
        each.thread.join(TIMEOUT_S)
        assert not each.thread.is_alive()
