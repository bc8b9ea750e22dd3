"""The environment of a container's commands, from the document of its Pod. Pure."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping

from kproxy.controlplane.plane import Json
from kproxy.errors import BadInput
from kproxy.store import ObjectKey

Documents = Callable[[ObjectKey], Json | None]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REFERENCE = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")
_SUBSCRIPT = re.compile(r"(metadata\.(?:labels|annotations))\['(.*)'\]")


def environment(
    pod: Json, container: Json, given: Mapping[str, str], documents: Documents
) -> dict[str, str]:
    """Return a container's variables: those `given`, those of its envFrom, then those of its env.

    `documents` finds ConfigMaps and Secrets. Raises BadInput with the kubelet's words if one of
    them is missing, or a key of it, and is not optional.
    Source: pkg/kubelet/kubelet_pods.go (makeEnvironmentVariables)
    """
    variables = dict(given)
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix", "")
        for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if reference := source.get(field):
                values = _values(pod, kind, reference, documents)
                variables |= {prefix + key: value for key, value in (values or {}).items()}
    for each in container.get("env") or ():
        value = _value(pod, each, variables, documents)
        if value is not None:
            variables[each["name"]] = value
    return variables


def _value(pod: Json, variable: Json, known: Mapping[str, str], documents: Documents) -> str | None:
    source = variable.get("valueFrom")
    if not source:
        return _expanded(variable.get("value", ""), known)
    if field := source.get("fieldRef"):
        return _field(pod, field.get("fieldPath", ""))
    for kind, key in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        if reference := source.get(key):
            values = _values(pod, kind, reference, documents)
            if values is not None and reference["key"] in values:
                return values[reference["key"]]
            if not reference.get("optional"):
                where = f"{pod['metadata'].get('namespace', '')}/{reference.get('name', '')}"
                raise BadInput([f"couldn't find key {reference['key']} in {kind} {where}"])
    return None  # a resource of the container: it has none here


def _expanded(value: str, known: Mapping[str, str]) -> str:
    """Replace `$(NAME)` where the variable is known, and `$$` by `$`."""

    def replacement(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return known.get(found[1], found[0])

    return _REFERENCE.sub(replacement, value)


def _field(pod: Json, path: str) -> str:
    if found := _SUBSCRIPT.fullmatch(path):
        path, key = found.groups()
    else:
        key = ""
    value: object = pod
    for step in path.split("."):
        value = value.get(step, "") if isinstance(value, Mapping) else ""
    if key:
        return str(value.get(key, "")) if isinstance(value, Mapping) else ""
    if isinstance(value, Mapping):
        return "\n".join(f'{each}="{value[each]}"' for each in sorted(value))
    if isinstance(value, list):  # status.podIPs
        return ",".join(_addresses(value))
    return str(value)


def _addresses(addresses: list[object]) -> Iterator[str]:
    return (str(each.get("ip", "")) for each in addresses if isinstance(each, Mapping))


def _values(pod: Json, kind: str, reference: Json, documents: Documents) -> dict[str, str] | None:
    """Return the texts of a ConfigMap or Secret; None if it is missing, and optional."""
    name = reference.get("name", "")
    document = documents((kind, pod["metadata"].get("namespace", ""), name))
    if document is None:
        if reference.get("optional"):
            return None
        raise BadInput([f'{kind.lower()} "{name}" not found'])
    data = document.get("data") or {}
    if kind == "ConfigMap":
        return dict(data)
    try:
        return {key: b64decode(value).decode(errors="replace") for key, value in data.items()}
    except binascii.Error:
        raise BadInput([f'secret "{name}" is not base64']) from None
