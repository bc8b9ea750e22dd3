"""The cells of an object in a row, as kubectl prints it: one function for each kind.

Source: Kubernetes, pkg/printers/internalversion/printers.go
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from kproxy.address import host_port
from kproxy.apiserver.ages import age
from kproxy.controlplane.plane import Json

Cells = list[Any]
_NONE, _UNSET, _UNKNOWN = "<none>", "<unset>", "<unknown>"
_SHOWN = 3  # of a list; the rest is counted
_ROLE = "node-role.kubernetes.io/"


def name_and_age(document: Json, now: datetime) -> Cells:
    return [_name(document), _age(document, now)]


def _pod(document: Json, now: datetime) -> Cells:
    spec, status = document.get("spec", {}), document.get("status", {})
    ready, reason, restarts, last = _pod_state(document)
    told = f"{restarts} ({age(last, now)} ago)" if restarts and last else str(restarts)
    addresses = status.get("podIPs") or ()
    gates = spec.get("readinessGates") or ()
    true = {
        each.get("type") for each in status.get("conditions") or () if each.get("status") == "True"
    }
    met = sum(each.get("conditionType") in true for each in gates)
    return [
        _name(document),
        ready,
        reason,
        told,
        _age(document, now),
        addresses[0].get("ip", "") if addresses else status.get("podIP") or _NONE,
        spec.get("nodeName") or _NONE,
        status.get("nominatedNodeName") or _NONE,
        f"{met}/{len(gates)}" if gates else _NONE,
    ]


def _pod_state(document: Json) -> tuple[str, str, int, str]:
    """Return the containers that are ready, a word for the state, restarts, and the last one."""
    spec, status = document.get("spec", {}), document.get("status", {})
    reason = status.get("reason") or status.get("phase") or ""
    conditions = status.get("conditions") or ()
    if any(
        each.get("type") == "PodScheduled" and each.get("reason") == "SchedulingGated"
        for each in conditions
    ):
        reason = "SchedulingGated"
    starting, restarts, ready, last = "", 0, 0, ""
    first = spec.get("initContainers") or ()
    for index, container in enumerate(status.get("initContainerStatuses") or ()):
        restarts += container.get("restartCount", 0)
        state = container.get("state", {})
        ended = state.get("terminated")
        if ended is not None and ended.get("exitCode", 0) == 0:
            continue
        if ended is not None:
            starting = "Init:" + _end(ended)
        elif (waits := state.get("waiting", {}).get("reason")) and waits != "PodInitializing":
            starting = f"Init:{waits}"
        else:
            starting = f"Init:{index}/{len(first)}"
        break
    if starting:
        reason = starting
    else:
        restarts, running = 0, False
        for container in reversed(status.get("containerStatuses") or ()):
            restarts += container.get("restartCount", 0)
            finished = container.get("lastState", {}).get("terminated", {}).get("finishedAt", "")
            last = max(last, finished)
            state = container.get("state", {})
            if waits := state.get("waiting", {}).get("reason"):
                reason = waits
            elif (ended := state.get("terminated")) is not None:
                reason = _end(ended)
            elif container.get("ready") and "running" in state:
                running = True
                ready += 1
        if reason == "Completed" and running:
            is_ready = any(
                each.get("type") == "Ready" and each.get("status") == "True" for each in conditions
            )
            reason = "Running" if is_ready else "NotReady"
    if "deletionTimestamp" in document["metadata"]:
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            reason = "Terminating"
    return f"{ready}/{len(spec.get('containers') or ())}", reason, restarts, last


def _end(terminated: Json) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _service(document: Json, now: datetime) -> Cells:
    spec = document.get("spec", {})
    kind, external = spec.get("type", "ClusterIP"), list(spec.get("externalIPs") or ())
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
    if kind == "ExternalName":
        outside = spec.get("externalName", "")
    elif kind == "LoadBalancer":
        outside = ",".join(_balancer(document) + external) or "<pending>"
    else:
        outside = ",".join(external) or _NONE
    return [
        _name(document),
        kind,
        addresses[0] or _NONE,
        outside,
        ",".join(map(_service_port, spec.get("ports") or ())) or _NONE,
        _age(document, now),
        _labels(spec.get("selector")),
    ]


def _service_port(port: Json) -> str:
    number = str(port.get("port", 0))
    if port.get("nodePort"):
        number += f":{port['nodePort']}"
    return f"{number}/{port.get('protocol', 'TCP')}"


def _balancer(document: Json) -> list[str]:
    ingress = document.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    return [each.get("ip") or each.get("hostname", "") for each in ingress]


def _endpoints(document: Json, now: datetime) -> Cells:
    shown: list[str] = []
    for subset in document.get("subsets") or ():
        addresses = [each.get("ip", "") for each in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        for port in ports:
            shown += [host_port(each, port.get("port", 0)) for each in addresses]
        if not ports:
            shown += addresses
    told = _some(shown) if document.get("subsets") else _NONE
    return [_name(document), told, _age(document, now)]


def _endpoint_slice(document: Json, now: datetime) -> Cells:
    ports = [str(each.get("port") or "*") for each in document.get("ports") or ()]
    addresses = [
        address
        for each in document.get("endpoints") or ()
        for address in each.get("addresses") or ()
    ]
    return [
        _name(document),
        document.get("addressType", ""),
        _some(ports) or _UNSET,
        _some(addresses) or _UNSET,
        _age(document, now),
    ]


def _node(document: Json, now: datetime) -> Cells:
    spec, status = document.get("spec", {}), document.get("status", {})
    info = status.get("nodeInfo", {})
    ready = [each for each in status.get("conditions") or () if each.get("type") == "Ready"]
    state = ["Ready" if each.get("status") == "True" else "NotReady" for each in ready]
    if not state:
        state = ["Unknown"]
    if spec.get("unschedulable"):
        state.append("SchedulingDisabled")
    labels = document["metadata"].get("labels") or {}
    roles = {label.removeprefix(_ROLE) for label in labels if label.startswith(_ROLE)}
    roles |= {labels["kubernetes.io/role"]} if labels.get("kubernetes.io/role") else set()
    addresses = status.get("addresses") or ()
    inside, outside = (
        next((each.get("address", "") for each in addresses if each.get("type") == kind), _NONE)
        for kind in ("InternalIP", "ExternalIP")
    )
    return [
        _name(document),
        ",".join(state),
        ",".join(sorted(roles - {""})) or _NONE,
        _age(document, now),
        info.get("kubeletVersion", ""),
        inside,
        outside,
        info.get("osImage") or _UNKNOWN,
        info.get("kernelVersion") or _UNKNOWN,
        info.get("containerRuntimeVersion") or _UNKNOWN,
    ]


def _namespace(document: Json, now: datetime) -> Cells:
    phase = document.get("status", {}).get("phase", "")
    return [_name(document), phase, _age(document, now)]


def _config_map(document: Json, now: datetime) -> Cells:
    count = len(document.get("data") or ()) + len(document.get("binaryData") or ())
    return [_name(document), count, _age(document, now)]


def _secret(document: Json, now: datetime) -> Cells:
    kind = document.get("type", "")
    return [_name(document), kind, len(document.get("data") or ()), _age(document, now)]


def _service_account(document: Json, now: datetime) -> Cells:
    return [_name(document), len(document.get("secrets") or ()), _age(document, now)]


def _event(document: Json, now: datetime) -> Cells:
    about = document.get("involvedObject", {})
    series = document.get("series") or {}
    moment = document.get("eventTime")
    first = document.get("firstTimestamp") or moment
    last = series.get("lastObservedTime") or document.get("lastTimestamp") or first
    kind = about.get("kind", "").lower()
    source = document.get("source") or {}
    parts = (
        source.get("component") or document.get("reportingComponent", ""),
        source.get("host") or document.get("reportingInstance", ""),
    )
    return [
        age(last, now),
        document.get("type", ""),
        document.get("reason", ""),
        f"{kind}/{about['name']}" if about.get("name") else kind,
        about.get("fieldPath", ""),
        ", ".join(filter(None, parts)),
        document.get("message", "").strip(),
        age(first, now),
        series.get("count") or document.get("count") or 1,
        _name(document),
    ]


def _deployment(document: Json, now: datetime) -> Cells:
    status = document.get("status", {})
    return [
        _name(document),
        f"{status.get('readyReplicas', 0)}/{_desired(document)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        _age(document, now),
        *_containers(document),
        _selector(document.get("spec", {}).get("selector")),
    ]


def _replica_set(document: Json, now: datetime) -> Cells:
    status = document.get("status", {})
    return [
        _name(document),
        _desired(document),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        _age(document, now),
        *_containers(document),
        _selector(document.get("spec", {}).get("selector")),
    ]


def _stateful_set(document: Json, now: datetime) -> Cells:
    ready = document.get("status", {}).get("readyReplicas", 0)
    told = f"{ready}/{_desired(document)}"
    return [_name(document), told, _age(document, now), *_containers(document)]


def _daemon_set(document: Json, now: datetime) -> Cells:
    spec, status = document.get("spec", {}), document.get("status", {})
    numbers = (
        *("desiredNumberScheduled", "currentNumberScheduled", "numberReady"),
        *("updatedNumberScheduled", "numberAvailable"),
    )
    return [
        _name(document),
        *(status.get(each, 0) for each in numbers),
        _labels(spec.get("template", {}).get("spec", {}).get("nodeSelector")),
        _age(document, now),
        *_containers(document),
        _selector(spec.get("selector")),
    ]


def _controller_revision(document: Json, now: datetime) -> Cells:
    owners = document["metadata"].get("ownerReferences") or ()
    owner = next((each for each in owners if each.get("controller")), None)
    told = f"{_qualified(owner)}/{owner.get('name', '')}" if owner else _NONE
    return [_name(document), told, document.get("revision", 0), _age(document, now)]


def _qualified(owner: Json) -> str:
    group, slash, _ = str(owner.get("apiVersion", "")).partition("/")
    kind = str(owner.get("kind", "")).lower()
    return f"{kind}.{group}" if slash else kind


def _ingress(document: Json, now: datetime) -> Cells:
    spec = document.get("spec", {})
    hosts = [each["host"] for each in spec.get("rules") or () if each.get("host")]
    return [
        _name(document),
        spec.get("ingressClassName") or _NONE,
        _some(hosts) or "*",
        ",".join(_balancer(document)),
        "80, 443" if spec.get("tls") else "80",
        _age(document, now),
    ]


def _ingress_class(document: Json, now: datetime) -> Cells:
    spec = document.get("spec", {})
    told = _NONE
    if parameters := spec.get("parameters"):
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        told = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
    return [_name(document), spec.get("controller", ""), told, _age(document, now)]


def _service_cidr(document: Json, now: datetime) -> Cells:
    cidrs = document.get("spec", {}).get("cidrs") or ()
    return [_name(document), ",".join(cidrs), _age(document, now)]


def _ip_address(document: Json, now: datetime) -> Cells:
    parent = document.get("spec", {}).get("parentRef") or {}
    fields = ("group", "resource", "namespace", "name")
    told = "/".join(parent[each] for each in fields if parent.get(each))
    return [_name(document), told, _age(document, now)]


def _lease(document: Json, now: datetime) -> Cells:
    holder = document.get("spec", {}).get("holderIdentity") or ""
    return [_name(document), holder, _age(document, now)]


def _network_policy(document: Json, now: datetime) -> Cells:
    selector = document.get("spec", {}).get("podSelector")
    return [_name(document), _selector(selector), _age(document, now)]


def _scale(document: Json, now: datetime) -> Cells:
    desired = document.get("spec", {}).get("replicas", 0)
    there = document.get("status", {}).get("replicas", 0)
    return [_name(document), desired, there, _age(document, now)]


CELLS: Mapping[str, Callable[[Json, datetime], Cells]] = {
    "ConfigMap": _config_map,
    "ControllerRevision": _controller_revision,
    "DaemonSet": _daemon_set,
    "Deployment": _deployment,
    "EndpointSlice": _endpoint_slice,
    "Endpoints": _endpoints,
    "Event": _event,
    "IPAddress": _ip_address,
    "Ingress": _ingress,
    "IngressClass": _ingress_class,
    "Lease": _lease,
    "Namespace": _namespace,
    "NetworkPolicy": _network_policy,
    "Node": _node,
    "Pod": _pod,
    "ReplicaSet": _replica_set,
    "Scale": _scale,
    "Secret": _secret,
    "Service": _service,
    "ServiceAccount": _service_account,
    "ServiceCIDR": _service_cidr,
    "StatefulSet": _stateful_set,
}


def _name(document: Json) -> str:
    return str(document["metadata"].get("name", ""))


def _age(document: Json, now: datetime) -> str:
    return age(document["metadata"].get("creationTimestamp"), now)


def _some(texts: list[str]) -> str:
    told = ",".join(texts[:_SHOWN])
    return f"{told} + {len(texts) - _SHOWN} more..." if len(texts) > _SHOWN else told


def _labels(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or _NONE


def _selector(selector: Json | None) -> str:
    if selector is None:
        return _NONE
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    parts += map(_expression, selector.get("matchExpressions") or ())
    return ",".join(parts) or _NONE


def _expression(expression: Json) -> str:
    key, operator = expression.get("key", ""), expression.get("operator", "")
    match operator:
        case "Exists":
            return str(key)
        case "DoesNotExist":
            return f"!{key}"
    return f"{key} {operator.lower()} ({','.join(sorted(expression.get('values') or ()))})"


def _desired(document: Json) -> int:
    replicas = document.get("spec", {}).get("replicas")
    return 1 if replicas is None else int(replicas)


def _containers(document: Json) -> Iterable[str]:
    containers = document.get("spec", {}).get("template", {}).get("spec", {}).get("containers")
    return (
        ",".join(str(each.get(field, "")) for each in containers or ())
        for field in ("name", "image")
    )
