"""Pods from templates, with the fields that kproxy has no types for."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from kproxy.api.checks import altered
from kproxy.api.pod_rules import check_pod_spec
from kproxy.api.problems import Report
from kproxy.api.types import Metadata, OwnerReference, Pod, PodSpec, PodStatus, PodTemplateSpec
from kproxy.controlplane.plane import Json
from kproxy.controlplane.stored_documents import placeholder
from kproxy.store import ObjectKey
from kproxy.typed import converted

_DNS_POLICY, _SCHEDULER = "ClusterFirst", "default-scheduler"


def new_pod(
    owner: Json,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    spec: Json | None = None,
) -> tuple[Pod, Json]:
    """Return a Pod of a workload's template, and its document; both with more labels and fields."""
    template = owner["spec"]["template"]
    about = {key: value for key, value in (template.get("metadata") or {}).items() if value}
    about["labels"] = {**about.get("labels", {}), **(labels or {})}
    base = {"metadata": about, "spec": {**template["spec"], **(spec or {})}}
    typed = converted(base, PodTemplateSpec)
    namespace = owner["metadata"]["namespace"]
    metadata = Metadata(
        name=name,
        namespace=namespace,
        labels=typed.metadata.labels,
        annotations=typed.metadata.annotations,
        finalizers=typed.metadata.finalizers,
        owner_references=(controller_reference(owner),),
    )
    checked = check_pod_spec(plain_spec(typed.spec), "spec", Report(), runs_here=True)
    return Pod(metadata=metadata, spec=checked, status=PodStatus(phase="Pending")), base


def plain_spec(spec: PodSpec) -> PodSpec:
    """Return a spec without the defaults that documents show, as it is in manifests without them.

    So two specs that mean the same are equal.
    """
    policy = None if spec.dns_policy == _DNS_POLICY else spec.dns_policy
    name = "" if spec.scheduler_name == _SCHEDULER else spec.scheduler_name
    return altered(spec, dns_policy=policy, scheduler_name=name)


def controller_reference(owner: Json) -> OwnerReference:
    """Return the reference of what a workload makes."""
    kind, metadata = owner["kind"], owner["metadata"]
    key: ObjectKey = (kind, metadata["namespace"], metadata["name"])
    return OwnerReference(
        api_version=owner["apiVersion"],
        kind=kind,
        name=metadata["name"],
        uid=placeholder(key),
        controller=True,
        block_owner_deletion=True,
    )


def adopted(pod: Pod, owner: Json) -> Pod:
    """Return a Pod that belongs to a workload from now on."""
    owners = (*pod.metadata.owner_references, controller_reference(owner))
    return replace(pod, metadata=replace(pod.metadata, owner_references=owners))
