"""The API server's checks of what the types of this package leave unread: Pods, their templates,
selectors, strategies and taints, as documents. Values of a wrong type are refused elsewhere.

Source: pkg/apis/core/validation/validation.go (ValidatePodSpec, validateNodeTaints),
pkg/apis/apps/validation and apimachinery pkg/apis/meta/v1/validation of Kubernetes
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from kproxy.api.quantities import milli_units
from kproxy.controlplane.field_errors import (
    duplicate,
    forbidden,
    invalid,
    not_among,
    required,
    unsupported,
)
from kproxy.controlplane.plane import Json
from kproxy.controlplane.value_problems import (
    label_problems,
    label_value_problems,
    port_name_problems,
    port_problems,
    qualified_name_problems,
)

_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_UPDATES = {"Deployment": ("Recreate", "RollingUpdate"), "DaemonSet": ("RollingUpdate", "OnDelete")}
POD_FIXED = (
    "pod updates may not change fields other than `spec.containers[*].image`, `metadata.labels`"
    " and `metadata.annotations`"
)
_CHANGEABLE = (  # of a Pod; its containers are compared field by field
    "activeDeadlineSeconds",
    "ephemeralContainers",
    "schedulingGates",
    "terminationGracePeriodSeconds",
    "tolerations",
)
_MOST_SECONDS = 2**31 - 1
_NO_ENV_NAME = (
    "a valid environment variable name must consist only of printable ASCII characters other than"
    " '='"
)
_NEEDS_EXISTS = (
    'operator must be Exists when `key` is empty, which means "match all values and all keys"'
)
_OPERATORS = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}  # with values?
_STATEFUL_CHOICES = {
    "podManagementPolicy": ("OrderedReady", "Parallel"),
    "updateStrategy": ("RollingUpdate", "OnDelete"),
}


def unread_problems(document: Json, former: Json | None) -> list[str]:
    """Return the problems of a Pod, a workload or a Node that no type tells of.

    What is wrong in `former`, which it replaces, may stay: not everybody stores through an API.
    """
    found = [*_problems(document)]
    if former and document["kind"] == "Pod":
        found += _fixed(_dict(document.get("spec")), _dict(former.get("spec")))
    known = {*_problems(former)} if found and former else set()
    return [each for each in found if each not in known]


def _problems(document: Json) -> Iterator[str]:
    kind, spec = document["kind"], _dict(document.get("spec"))
    match kind:
        case "Pod":
            yield from _pod_spec(spec, "spec")
        case "Node":
            yield from _taints(_dicts(spec.get("taints")))
        case "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet":
            yield from _selector(_dict(spec.get("selector")))
            yield from _strategy(kind, spec)
            pods = _dict(_dict(spec.get("template")).get("spec"))
            if pods:
                yield from _pod_spec(pods, "spec.template.spec", _claimed(spec))
            policy = pods.get("restartPolicy")
            if policy in _POLICIES[1:]:
                yield unsupported("spec.template.spec.restartPolicy", policy, _POLICIES[:1])


def _fixed(spec: Json, former: Json) -> Iterator[str]:
    """Yield the problems of fields of a Pod that have another value than they had."""
    for field in spec.keys() - {*_CHANGEABLE, "containers", "initContainers"}:
        if (spec[field] or None) != (former.get(field) or None):
            yield forbidden(f"spec.{field}", POD_FIXED)


def _claimed(spec: Json) -> set[str]:
    """Return the volumes that each Pod of a StatefulSet gets besides those of its template."""
    claims = _dicts(spec.get("volumeClaimTemplates"))
    return {_text(_dict(each.get("metadata")), "name") for each in claims}


def _pod_spec(spec: Json, path: str, claimed: Collection[str] = ()) -> Iterator[str]:
    volumes: set[str] = set()
    for i, volume in enumerate(_dicts(spec.get("volumes"))):
        yield from _name(f"{path}.volumes[{i}].name", volume, volumes)
    names: set[str] = set()
    if not _dicts(spec.get("containers")):
        yield required(f"{path}.containers")
    for field in ("containers", "initContainers"):
        for i, container in enumerate(_dicts(spec.get(field))):
            place = f"{path}.{field}[{i}]"
            yield from _name(f"{place}.name", container, names)
            yield from _container(container, place, volumes.union(claimed))
    yield from _choice(spec, path, "restartPolicy", _POLICIES)
    yield from _choice(spec, path, "dnsPolicy", _DNS_POLICIES)
    if spec.get("dnsPolicy") == "None":
        config = spec.get("dnsConfig")
        if config is None:
            told = "must provide `dnsConfig` when `dnsPolicy` is None"
            yield required(f"{path}.dnsConfig", told)
        elif not _dict(config).get("nameservers"):
            told = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield required(f"{path}.dnsConfig.nameservers", told)
    for i, toleration in enumerate(_dicts(spec.get("tolerations"))):
        yield from _toleration(toleration, f"{path}.tolerations[{i}]")
    seconds = spec.get("activeDeadlineSeconds")
    if isinstance(seconds, int) and not 1 <= seconds <= _MOST_SECONDS:
        told = f"must be between 1 and {_MOST_SECONDS}, inclusive"
        yield invalid(f"{path}.activeDeadlineSeconds", seconds, told)


def _container(container: Json, path: str, volumes: set[str]) -> Iterator[str]:
    image = _text(container, "image")
    if not image:
        yield required(f"{path}.image")
    elif image != image.strip():
        yield invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    yield from _choice(container, path, "imagePullPolicy", _PULL_POLICIES)
    yield from _choice(container, path, "terminationMessagePolicy", _MESSAGE_POLICIES)
    yield from _resources(_dict(container.get("resources")), f"{path}.resources")
    names: set[str] = set()
    for i, port in enumerate(_dicts(container.get("ports"))):
        yield from _port(port, f"{path}.ports[{i}]", names)
    for i, variable in enumerate(_dicts(container.get("env"))):
        field, name = f"{path}.env[{i}].name", _text(variable, "name")
        if not name:
            yield required(field)
        elif not name.isascii() or not name.isprintable() or "=" in name:
            yield invalid(field, name, _NO_ENV_NAME)
        if variable.get("value") and variable.get("valueFrom"):
            told = "may not be specified when `value` is not empty"
            yield invalid(f"{path}.env[{i}].valueFrom", "", told)
    places: set[str] = set()
    for i, mount in enumerate(_dicts(container.get("volumeMounts"))):
        field, name = f"{path}.volumeMounts[{i}]", _text(mount, "name")
        if not name:
            yield required(f"{field}.name")
        elif name not in volumes:
            yield not_among(f"{field}.name", name)
        place = _text(mount, "mountPath")
        if not place:
            yield required(f"{field}.mountPath")
        elif place in places:
            yield invalid(f"{field}.mountPath", place, "must be unique")
        places.add(place)


def _resources(resources: Json, path: str) -> Iterator[str]:
    amounts = {field: _dict(resources.get(field)) for field in ("limits", "requests")}
    for field, stated in amounts.items():
        for name, quantity in stated.items():
            if str(quantity).startswith("-"):
                told = "must be greater than or equal to 0"
                yield invalid(f"{path}.{field}[{name}]", str(quantity), told)
            limit = amounts["limits"].get(name)
            if field == "requests" and limit is not None and _milli(quantity) > _milli(limit):
                told = f"must be less than or equal to {name} limit of {limit}"
                yield invalid(f"{path}.requests", str(quantity), told)


def _milli(quantity: Any) -> int:
    found = milli_units(quantity) if isinstance(quantity, str | int | float) else None
    return found or 0


def _toleration(toleration: Json, path: str) -> Iterator[str]:
    names = ("key", "operator", "value", "effect")
    key, operator, value, effect = (_text(toleration, each) for each in names)
    seconds = toleration.get("tolerationSeconds")
    if key:
        yield from (invalid(f"{path}.key", key, told) for told in qualified_name_problems(key))
    elif operator != "Exists":
        yield invalid(f"{path}.operator", operator, _NEEDS_EXISTS)
    if seconds is not None and effect != "NoExecute":
        told = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        yield invalid(f"{path}.effect", effect, told)
    if operator in ("", "Equal"):
        for told in label_value_problems(value):
            yield invalid(f"{path}.operator", value, told)  # sic
    elif operator == "Exists" and value:
        shown = {"Key": key, "Operator": operator, "Value": value, "Effect": effect}
        told = "value must be empty when `operator` is 'Exists'"
        yield invalid(f"{path}.operator", {**shown, "TolerationSeconds": seconds}, told)
    elif operator not in ("Exists", "Lt", "Gt"):
        yield unsupported(f"{path}.operator", operator, ("Equal", "Exists"))
    if effect and effect not in _EFFECTS:
        yield unsupported(f"{path}.effect", effect, _EFFECTS)


def _port(port: Json, path: str, names: set[str]) -> Iterator[str]:
    if name := _text(port, "name"):
        field = f"{path}.name"
        found = [*port_name_problems(name)]
        yield from (invalid(field, name, told) for told in found)
        if name in names and not found:
            yield duplicate(field, name)
        names.add(name)
    number = port.get("containerPort") or 0
    if not number:
        yield required(f"{path}.containerPort")
    for field, value in (("containerPort", number), ("hostPort", port.get("hostPort") or 0)):
        if value and isinstance(value, int):
            yield from (invalid(f"{path}.{field}", value, told) for told in port_problems(value))
    yield from _choice(port, path, "protocol", _PROTOCOLS)


def _taints(taints: list[Json]) -> Iterator[str]:
    seen: set[tuple[str, str]] = set()
    for i, taint in enumerate(taints):
        field = f"metadata.taints[{i}]"  # sic
        key, value, effect = (_text(taint, each) for each in ("key", "value", "effect"))
        for told in qualified_name_problems(key):
            yield invalid(f"{field}.key", key, told)
        for told in label_value_problems(value):
            yield invalid(f"{field}.value", value, told)
        if not effect:
            yield required(f"{field}.effect")
        elif effect not in _EFFECTS:
            yield unsupported(f"{field}.effect", effect, _EFFECTS)
        if (key, effect) in seen:
            told = "taints must be unique by key and effect pair"
            yield f"{duplicate(field, taint)}: {told}"
        seen.add((key, effect))


def _selector(selector: Json) -> Iterator[str]:
    for i, wanted in enumerate(_dicts(selector.get("matchExpressions"))):
        field = f"spec.selector.matchExpressions[{i}]"
        operator = _text(wanted, "operator")
        has_values = _OPERATORS.get(operator)
        if has_values is None:
            yield invalid(f"{field}.operator", operator, "not a valid selector operator")
        elif has_values and not wanted.get("values"):
            told = "must be specified when `operator` is 'In' or 'NotIn'"
            yield required(f"{field}.values", told)
        elif not has_values and wanted.get("values"):
            told = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            yield forbidden(f"{field}.values", told)


def _strategy(kind: str, spec: Json) -> Iterator[str]:
    match kind:
        case "Deployment" | "DaemonSet":
            field = "strategy" if kind == "Deployment" else "updateStrategy"
            choices = _UPDATES[kind]
            strategy = _dict(spec.get(field))
            if (strategy.get("type") or choices[0]) not in choices:
                yield unsupported(f"spec.{field}", strategy, choices)
        case "StatefulSet":
            for field, choices in _STATEFUL_CHOICES.items():
                value = spec.get(field)
                chosen = value.get("type") if isinstance(value, dict) else value
                if chosen and chosen not in choices:
                    told = f"must be '{choices[0]}' or '{choices[1]}'"
                    yield invalid(f"spec.{field}", value, told)


def _name(field: str, value: Json, names: set[str]) -> Iterator[str]:
    name = _text(value, "name")
    if not name:
        yield required(field)
    elif found := label_problems(name):
        yield from (invalid(field, name, told) for told in found)
    elif name in names:
        yield duplicate(field, name)
    names.add(name)


def _choice(value: Json, path: str, field: str, choices: tuple[str, ...]) -> Iterator[str]:
    chosen = value.get(field)
    if chosen and chosen not in choices:
        yield unsupported(f"{path}.{field}", chosen, choices)


def _text(values: Json, field: str) -> str:
    found = values.get(field)
    return found if isinstance(found, str) else ""


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[Json]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
