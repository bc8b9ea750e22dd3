"""The warnings of a cluster, by the object that each is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from kproxy.api.types import Pod
from kproxy.controlplane.registry import workload_of
from kproxy.store import ObjectKey, ServiceKey

_K = TypeVar("_K", ObjectKey, ServiceKey)
Texts = tuple[str, ...]


class ClusterWarnings:
    """The warnings by the part of a cluster that gives them."""

    def __init__(self) -> None:
        self.api: dict[ObjectKey, Texts] = {}  # of the API server, of what users wrote last
        self.endpoints: dict[ServiceKey, Texts] = {}
        self.balancers: dict[ServiceKey, Texts] = {}
        self.unscheduled: dict[ObjectKey, str] = {}

    def by_object(
        self, pod_of: Callable[[ObjectKey], Pod | None], others: Mapping[ObjectKey, Texts]
    ) -> Mapping[ObjectKey, Texts]:
        """Return all of these and the `others`; those of the API server come first.

        The warning that a Pod of a Deployment has no Node is listed with the Deployment.
        """
        found = dict(self.api)
        for other, told in others.items():
            found[other] = (*found.get(other, ()), *told)
        for of in (self.endpoints, self.balancers):
            for service, told in of.items():
                key = ("Service", *service)
                found[key] = (*found.get(key, ()), *told)
        for pod_key, why in self.unscheduled.items():
            pod = pod_of(pod_key)
            owner = workload_of(pod) if pod else None
            key, line = (owner, f"Pod {pod_key[2]}: {why}") if owner else (pod_key, why)
            found[key] = (*found.get(key, ()), line)
        return {key: found[key] for key in sorted(found)}


def note(warnings: dict[_K, Texts], key: _K, told: Texts) -> None:
    """Set the warnings of an object, or remove those that it had."""
    if told:
        warnings[key] = told
    else:
        warnings.pop(key, None)
