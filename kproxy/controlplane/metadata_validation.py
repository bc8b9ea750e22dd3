"""The API server's checks of the metadata of all objects.

Source: apimachinery pkg/api/validation/objectmeta.go, pkg/apis/core/validation/validation.go
(ValidateObjectMeta, ValidateObjectMetaUpdate) and pkg/registry/rest of Kubernetes
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from msgspec import to_builtins

from kproxy.api.checks import CLUSTER_SCOPED, altered
from kproxy.api.go import quoted
from kproxy.api.types import (
    Deployment,
    EndpointSlice,
    Ingress,
    IPAddress,
    KubernetesObject,
    Metadata,
    OwnerReference,
    Pod,
    Service,
)
from kproxy.controlplane.field_errors import forbidden, invalid, required, too_long
from kproxy.controlplane.value_problems import (
    ip_problems,
    label_problems,
    label_value_problems,
    qualified_name_problems,
    subdomain_problems,
)

_MOST_BYTES = 256 * 1024  # of all annotations together
_ORPHAN, _FOREGROUND = "orphan", "foregroundDeletion"
_FINALIZERS = ("kubernetes", _ORPHAN, _FOREGROUND)  # that need no prefix
_NUMBERED = (Deployment, EndpointSlice, Ingress, Pod)  # the server sets their generation first
FIXED = "field is immutable"


Judge = Callable[[str], tuple[str, ...]]  # returns what is wrong with a text


def metadata_problems(
    obj: KubernetesObject, former: KubernetesObject | None, names: Judge | None = None
) -> Iterator[str]:
    """Yield the problems of the metadata of an object, which replaces `former`. `names` judges its
    name, if its type does not tell what does.
    """
    metadata = obj.metadata
    if former is None:
        yield from _names(obj, names or _name_problems(obj))
        if metadata.generation < 0 and not isinstance(obj, _NUMBERED):
            told = "must be greater than or equal to 0"
            yield invalid("metadata.generation", metadata.generation, told)
    elif former.metadata.deletion_timestamp:
        yield from _new_finalizers(metadata.finalizers, former.metadata.finalizers)
    elif metadata.deletion_timestamp and not isinstance(obj, Pod):  # which may run elsewhere
        yield invalid("metadata.deletionTimestamp", metadata.deletion_timestamp, FIXED)
    yield from label_map_problems("metadata.labels", metadata.labels)
    yield from _annotations(metadata.annotations)
    yield from _owners(metadata.owner_references)
    if former is None:
        yield from _finalizers(metadata.finalizers)
    for i, name in enumerate(metadata.finalizers):
        if "/" not in name and name not in _FINALIZERS:
            told = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid(f"metadata.finalizers[{i}]", name, told)
    if former and not isinstance(obj, Deployment):  # for which the server does not look again
        yield from _finalizers(metadata.finalizers)


def label_map_problems(field: str, labels: Mapping[str, str]) -> Iterator[str]:
    """Yield the problems of labels, or of a selector of labels."""
    for key, value in labels.items():
        yield from (invalid(field, key, told) for told in qualified_name_problems(key))
        yield from (invalid(field, value, told) for told in label_value_problems(value))


def _names(obj: KubernetesObject, judge: Judge) -> Iterator[str]:
    metadata = obj.metadata
    if prefix := metadata.generate_name:
        # What follows it is not known yet; so a hyphen may end it.
        whole = prefix[:-2] + "a" if len(prefix) > 1 and prefix[-1] == "-" else prefix
        yield from _each("metadata.generateName", prefix, judge, whole)
    if metadata.name:
        yield from _each("metadata.name", metadata.name, judge)
    else:
        yield required("metadata.name", "name or generateName is required")
    if not isinstance(obj, CLUSTER_SCOPED):
        yield from _each("metadata.namespace", metadata.namespace, label_problems)


def _name_problems(obj: KubernetesObject) -> Judge:
    """Return what judges the object's name."""
    if isinstance(obj, IPAddress):
        return partial(ip_problems, canonical=True)
    # Services: as since RelaxedServiceNameValidation.
    return label_problems if isinstance(obj, Service) else subdomain_problems


def _each(field: str, value: str, judge: Judge, judged: str = "") -> Iterator[str]:
    return (invalid(field, value, told) for told in judge(judged or value))


def _annotations(annotations: Mapping[str, str]) -> Iterator[str]:
    size = 0
    for key, value in annotations.items():
        size += len(key.encode()) + len(value.encode())
        for told in qualified_name_problems(key.lower()):
            yield invalid("metadata.annotations", key, told)
    if size > _MOST_BYTES:
        yield too_long("metadata.annotations", _MOST_BYTES)


def _owners(owners: tuple[OwnerReference, ...]) -> Iterator[str]:
    field = "metadata.ownerReferences"
    controller = ""
    for each in owners:
        if not each.api_version.rpartition("/")[2] or each.api_version.count("/") > 1:
            yield invalid(f"{field}.apiVersion", each.api_version, "version must not be empty")
        for name, value in (("kind", each.kind), ("name", each.name), ("uid", each.uid)):
            if not value:
                yield invalid(f"{field}.{name}", value, "must not be empty")
        if (each.api_version, each.kind) == ("v1", "Event"):
            told = "/v1, Kind=Event is disallowed from being an owner"
            yield invalid(field, _owner(each), told)
        if each.controller:
            own = f"{each.kind}/{each.name}"
            if controller:
                told = "Only one reference can have Controller set to true. Found"
                told += f' "true" in references for {controller} and {own}'
                yield invalid(field, [_owner(each) for each in owners], told)
            else:
                controller = own


def _owner(owner: OwnerReference) -> dict[str, Any]:
    """Return the reference as Go prints it: with all fields but absent pointers."""
    values: dict[str, Any] = to_builtins(owner)
    return {key: value for key, value in values.items() if value is not None}


def _finalizers(names: tuple[str, ...]) -> Iterator[str]:
    field = "metadata.finalizers"
    for name in names:
        yield from _each(field, name, qualified_name_problems)
    if _ORPHAN in names and _FOREGROUND in names:
        told = f"finalizer {_FOREGROUND} and {_ORPHAN} cannot be both set"
        yield invalid(field, names, told)


def _new_finalizers(names: tuple[str, ...], former: tuple[str, ...]) -> Iterator[str]:
    """Yield the problem of an object that is being deleted, if something new is to hold it."""
    if new := sorted({*names} - {*former}):
        told = ", ".join(map(quoted, new))
        why = "no new finalizers can be added if the object is being deleted, found new finalizers"
        yield forbidden("metadata.finalizers", f"{why} []string{{{told}}}")


def stored_metadata(wanted: Metadata, former: Metadata | None) -> Metadata:
    """Return the metadata to store: users do not set the time of deletion."""
    ended = former.deletion_timestamp if former else None
    return altered(wanted, deletion_timestamp=ended, generation=0)
