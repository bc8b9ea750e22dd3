"""A lab in the report of a failed test: what is shown, what is left out, and how much at most."""

from __future__ import annotations

from datetime import UTC, datetime

from kproxy.controlplane.plane import Json, Write
from kproxy.store import ObjectKey
from kproxy.testing import lab_report
from kproxy.testing.lab_report import report

NOW = datetime(2026, 5, 1, 12, 0, 30, tzinfo=UTC)
CREATED = "2026-05-01T12:00:00Z"


def document(kind: str, name: str, namespace: str = "default", **parts: object) -> Json:
    metadata = {"name": name, "namespace": namespace, "uid": "1", "creationTimestamp": CREATED}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **parts}


def stored(*documents: Json) -> dict[ObjectKey, Json]:
    return {
        (each["kind"], each["metadata"]["namespace"], each["metadata"]["name"]): each
        for each in documents
    }


def service(name: str) -> Json:
    spec = {
        "type": "ClusterIP",
        "clusterIP": "10.96.0.9",
        "ports": [{"port": 80, "protocol": "TCP"}],
    }
    return document("Service", name, spec=spec)


def endpoint_slice(*endpoints: Json) -> Json:
    found = document("EndpointSlice", "web-x", ports=[{"port": 8080}], endpoints=[*endpoints])
    found["metadata"]["labels"] = {"kubernetes.io/service-name": "web"}
    return found


def changed(former: Json, **spec: object) -> Write:
    new = {**former, "spec": {**former["spec"], **spec}}
    return Write(("Service", "default", former["metadata"]["name"]), new, former, 7)


def test_objects_endpoints_and_changes() -> None:
    web = service("web")
    ready = {"addresses": ["10.244.1.11"], "targetRef": {"name": "web-1"}, "nodeName": "node-a"}
    ending = {
        "addresses": ["fd00::1"],
        "conditions": {"ready": False, "terminating": True, "serving": True},
    }
    pod = document("Pod", "web-1", spec={"nodeName": "node-a"}, status={"phase": "Pending"})
    event = document(
        "Event",
        "web-1.1",
        type="Warning",
        reason="Unhealthy",
        involvedObject={"kind": "Pod", "name": "web-1"},
        message="it does not answer",
        lastTimestamp=CREATED,
        count=1,
    )
    changes = [
        (2.5, Write(("Service", "default", "web"), web, None, 1)),
        (1.25, changed(web, clusterIP="10.96.0.8", ports=[])),
        (1.0, Write(("Event", "default", "web-1.1"), event, None, 8)),
        (0.5, Write(("Service", "default", "web"), None, web, 9)),
    ]
    documents = stored(web, endpoint_slice(ready, ending), pod, event)
    assert report(documents, changes, NOW).splitlines() == [
        "Service:",
        "  NAMESPACE   NAME   TYPE        CLUSTER-IP   EXTERNAL-IP   PORT(S)   AGE   SELECTOR",
        "  default     web    ClusterIP   10.96.0.9    <none>        80/TCP    30s   <none>",
        "",
        "Pod:",
        "  NAMESPACE   NAME    READY   STATUS    RESTARTS   AGE   IP       NODE",
        "  default     web-1   0/0     Pending   0          30s   <none>   node-a",
        "",
        "endpoints:",
        "  NAMESPACE   SERVICE   ENDPOINT           TARGET   NODE     CONDITIONS",
        "  default     web       10.244.1.11:8080   web-1    node-a   ready",
        "  default     web       [fd00::1]:8080     -        -        terminating, serving",
        "",
        "events:",
        "  LAST SEEN   TYPE      REASON      OBJECT      MESSAGE",
        "  30s         Warning   Unhealthy   pod/web-1   it does not answer",
        "",
        "changes:",
        "  SECONDS AGO   OBJECT                CHANGE",
        "  2.50          Service default/web   created",
        "  1.25          Service default/web   changed: spec.clusterIP=10.96.0.8, spec.ports",
        "  0.50          Service default/web   deleted",
    ]


def test_what_every_lab_has_is_left_out() -> None:
    own = stored(
        document("Service", "kubernetes", spec={}),
        document("Service", "kube-dns", "kube-system", spec={}),
        document("Namespace", "default", ""),
        document("ConfigMap", "kube-root-ca.crt", "shop"),
    )
    of_the_spec = document("Pod", "shop", spec={}, status={})
    del of_the_spec["metadata"]["uid"]
    written = [(1.0, Write(key, each, None, 1)) for key, each in own.items()]
    assert report(own | stored(of_the_spec), written, NOW) == ""


def test_a_report_is_bounded() -> None:
    services = [service(f"web-{number:03}") for number in range(100)]
    endpoints = [{"addresses": [f"10.244.1.{number}"]} for number in range(100)]
    configuration = document("ConfigMap", "large", data={"key": "value\n" * 9999})
    changes = [(1.0, changed(services[0], clusterIP="x" * 9999))] * 500
    text = report(stored(*services, endpoint_slice(*endpoints), configuration), changes, NOW)
    lines = text.splitlines()
    assert lines.count("... and 70 more") == 2
    assert f"changes, the last {lab_report.MOST_CHANGES} of 500:" in lines
    assert len(lines) < 2 * lab_report.MOST_ROWS + lab_report.MOST_CHANGES + 20
    assert max(map(len, lines)) < 250


def test_a_plain_document_without_a_time_has_no_age() -> None:
    web = service("web")
    del web["metadata"]["creationTimestamp"]
    assert "AGE" not in report(stored(web), [], NOW)
