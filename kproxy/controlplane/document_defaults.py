"""The defaults that an API server shows in its documents.

Source: pkg/apis/core/v1/defaults.go, pkg/apis/apps/v1/defaults.go and
pkg/apis/discovery/v1/defaults.go of Kubernetes v1.36
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

from kproxy.controlplane.plane import Json

_REVISIONS = 10
_COUNTS = {  # that a status always has, also before any controller has seen the object
    "ReplicaSet": ("replicas",),
    "StatefulSet": ("replicas", "availableReplicas"),
    "DaemonSet": (
        "currentNumberScheduled",
        "desiredNumberScheduled",
        "numberMisscheduled",
        "numberReady",
    ),
}


def defaulted(document: Json) -> Json:
    """Return a document as it is shown: with the defaults of its kind, and what is added to it
    before it is stored. The given one stays as it is.
    """
    admit = _ADMITTED.get(document["kind"])
    found = decoded(document)
    return admit(found) if admit else found


def decoded(document: Json) -> Json:
    """Return a document with the defaults that it gets when it is read, so those of who writes it;
    the given one stays as it is.
    """
    found = _DEFAULTS.get(document["kind"])
    return found(document) if found else document


def defaulted_template(template: Json) -> Json:
    """Return a template of Pods with defaults."""
    return {**template, "spec": _pod_spec(template.get("spec") or {})}


def _with(values: Json, **defaults: Any) -> Json:
    """Return values with defaults for those that are missing."""
    missing = {key: value for key, value in defaults.items() if values.get(key) is None}
    return {**values, **missing} if missing else values


def _without_empty(values: Json, *fields: str) -> Json:
    """Return values without those of these fields that have nothing in them."""
    return {key: each for key, each in values.items() if each or key not in fields}


def _service(document: Json) -> Json:
    spec = _with(document.get("spec") or {}, type="ClusterIP", sessionAffinity="None")
    if ports := spec.get("ports"):
        spec = {**spec, "ports": [_service_port(each) for each in ports]}
    if spec["type"] != "ExternalName":
        spec = _with(spec, internalTrafficPolicy="Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer") or spec.get("externalIPs"):
        spec = _with(spec, externalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        spec = _with(spec, allocateLoadBalancerNodePorts=True)
    if spec["sessionAffinity"] == "ClientIP":
        spec = {**spec, "sessionAffinityConfig": {"clientIP": _client_ip(spec)}}
    status = _with(document.get("status") or {}, loadBalancer={})
    return {**document, "spec": spec, "status": status}


def _service_port(port: Json) -> Json:
    return _with(port, protocol="TCP", targetPort=port.get("port"))


def _client_ip(spec: Json) -> Json:
    config = spec.get("sessionAffinityConfig") or {}
    return _with(config.get("clientIP") or {}, timeoutSeconds=10800)


def _endpoint_slice(document: Json) -> Json:
    ports = [_with(each, name="", protocol="TCP") for each in document.get("ports") or ()]
    return {**document, "endpoints": document.get("endpoints") or [], "ports": ports}


def _endpoints(document: Json) -> Json:
    subsets = [
        {**each, "ports": [_with(port, protocol="TCP") for port in each["ports"]]}
        if each.get("ports")
        else each
        for each in document.get("subsets") or ()
    ]
    return {**document, "subsets": subsets} if subsets else document


def _pod(document: Json) -> Json:
    spec = _pod_spec(document.get("spec") or {})
    return {**document, "spec": _with(spec, enableServiceLinks=True)}


def _admitted_pod(document: Json) -> Json:
    spec = _with(document["spec"], serviceAccountName="default", priority=0)
    spec = _with(spec, preemptionPolicy="PreemptLowerPriority")
    return {**document, "spec": _with(spec, serviceAccount=spec["serviceAccountName"])}


def _pod_spec(spec: Json) -> Json:
    spec = _with(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        securityContext={},
        schedulerName="default-scheduler",
    )
    if account := spec.get("serviceAccountName"):
        spec = _with(spec, serviceAccount=account)
    for key in ("containers", "initContainers"):
        if spec.get(key):
            spec = {**spec, key: [_container(each) for each in spec[key]]}
    return spec


def _container(container: Json) -> Json:
    image = container.get("image") or ""
    tag = image.rpartition("/")[2].partition(":")[2]
    found = _with(
        container,
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy="IfNotPresent" if tag not in ("", "latest") else "Always",
    )
    if ports := found.get("ports"):
        found = {**found, "ports": [_with(each, protocol="TCP") for each in ports]}
    for key in ("readinessProbe", "livenessProbe", "startupProbe"):
        if probe := found.get(key):
            found = {**found, key: _probe(probe)}
    return found


def _probe(probe: Json) -> Json:
    probe = _with(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    if http := probe.get("httpGet"):
        probe = {**probe, "httpGet": _with(http, path="/", scheme="HTTP")}
    return probe


def _templated(document: Json, **defaults: Any) -> Json:
    """Return a workload with defaults of its spec and its template, and what any status has."""
    spec = _with(document.get("spec") or {}, **defaults)
    spec = {**spec, "template": defaulted_template(spec.get("template") or {})}
    counts = dict.fromkeys(_COUNTS.get(document["kind"], ()), 0)
    return {**document, "spec": spec, "status": _with(document.get("status") or {}, **counts)}


def _deployment(document: Json) -> Json:
    found = _templated(
        document,
        replicas=1,
        revisionHistoryLimit=_REVISIONS,
        progressDeadlineSeconds=600,
        strategy={},
    )
    strategy = _with(found["spec"]["strategy"], type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        limits = _with(strategy.get("rollingUpdate") or {}, maxSurge="25%", maxUnavailable="25%")
        strategy = {**strategy, "rollingUpdate": limits}
    return {**found, "spec": {**found["spec"], "strategy": strategy}}


def _replica_set(document: Json) -> Json:
    return _templated(document, replicas=1)


def _stateful_set(document: Json) -> Json:
    found = _templated(
        document,
        replicas=1,
        podManagementPolicy="OrderedReady",
        revisionHistoryLimit=_REVISIONS,
        serviceName="",
        updateStrategy={},
        persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Retain"},
    )
    update = _with(found["spec"]["updateStrategy"], type="RollingUpdate")
    if update["type"] == "RollingUpdate":
        rolling = _with(update.get("rollingUpdate") or {}, partition=0)
        update = {**update, "rollingUpdate": rolling}
    return {**found, "spec": {**found["spec"], "updateStrategy": update}}


def _daemon_set(document: Json) -> Json:
    found = _templated(document, revisionHistoryLimit=_REVISIONS, updateStrategy={})
    update = _with(found["spec"]["updateStrategy"], type="RollingUpdate")
    if update["type"] == "RollingUpdate":
        rolling = _with(update.get("rollingUpdate") or {}, maxSurge=0, maxUnavailable=1)
        update = {**update, "rollingUpdate": rolling}
    return {**found, "spec": {**found["spec"], "updateStrategy": update}}


def _namespace(document: Json) -> Json:
    metadata = document["metadata"]
    labels = {"kubernetes.io/metadata.name": metadata["name"]}
    metadata = {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}
    spec = _with(document.get("spec") or {}, finalizers=["kubernetes"])
    status = _with(document.get("status") or {}, phase="Active")
    return {**document, "metadata": metadata, "spec": spec, "status": status}


def _config_map(document: Json) -> Json:
    return _without_empty(document, "data", "binaryData")


def _secret(document: Json) -> Json:
    """Return a Secret with its type, and what `stringData` says in `data`, as it is stored."""
    found = _with(document, type="Opaque")
    if texts := found.get("stringData"):
        data = {key: b64encode(str(text).encode()).decode() for key, text in texts.items()}
        found = {**found, "data": {**(found.get("data") or {}), **data}, "stringData": {}}
    return _without_empty(found, "data", "stringData")


def _node(document: Json) -> Json:
    """Return a Node with the taint of one that is unschedulable, which a controller adds there."""
    return _with(document, spec={}, status={})


def _ingress(document: Json) -> Json:
    return {**document, "status": _with(document.get("status") or {}, loadBalancer={})}


def _network_policy(document: Json) -> Json:
    spec = document.get("spec") or {}
    types = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    return {**document, "spec": _with(spec, policyTypes=types)}


_DEFAULTS: Mapping[str, Callable[[Json], Json]] = {
    "Service": _service,
    "EndpointSlice": _endpoint_slice,
    "Endpoints": _endpoints,
    "Pod": _pod,
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "ConfigMap": _config_map,
    "Secret": _secret,
    "Ingress": _ingress,
    "NetworkPolicy": _network_policy,
}
_ADMITTED: Mapping[str, Callable[[Json], Json]] = {
    "Namespace": _namespace,
    "Node": _node,
    "Pod": _admitted_pod,
}
