"""The objects in the API server of a cluster, and the controllers that work on them.

    manifests -> apply, delete, scale -------+
    kubelet   -> set_pod_status, pod_stopped +-> Registry -> dirty keys -> reconcile -> take_changes

A write notes which controllers it concerns; `reconcile` runs these until nothing is due. So its
cost depends on what changed.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple, Protocol, TypeVar

from msgspec.structs import replace

from kproxy.api.checks import altered
from kproxy.api.types import (
    Deployment,
    Endpoints,
    EndpointSlice,
    IPAddress,
    KubernetesObject,
    Node,
    Pod,
    PodStatus,
    Service,
    ServiceCIDR,
)
from kproxy.controlplane import deployments, members, object_updates, service_endpoints
from kproxy.controlplane.api_warnings import api_warnings
from kproxy.controlplane.cluster_warnings import ClusterWarnings, Texts, note
from kproxy.controlplane.field_errors import not_found, refusal
from kproxy.controlplane.load_balancers import LoadBalancers
from kproxy.controlplane.port_allocator import NODE_PORTS
from kproxy.controlplane.registry import DEPLOYMENT, Registry, owner_of
from kproxy.controlplane.scheduler import Scheduler
from kproxy.controlplane.service_allocation import ServiceAllocation
from kproxy.controlplane.service_cidrs import ServiceCIDRs
from kproxy.errors import BadInput
from kproxy.store import ObjectKey, ServiceKey, Update, object_key, service_of

_T = TypeVar("_T", bound=KubernetesObject)


class Cloud(Protocol):
    """An external load balancer controller. It is called before Services are stored."""

    def admit(self, update: Update) -> Update:
        """Return the update with the addresses that its Services get. Raises BadInput to refuse.

        Node ports are allocated by then.
        """


class _Judged(NamedTuple):
    """Objects to store, and the problems of others."""

    fresh: dict[ObjectKey, KubernetesObject]  # all but Services
    allocated: list[Service]
    elsewhere: set[ObjectKey]  # the new Pods that run outside this cluster's kubelets
    problems: list[str]


class Cluster:
    """Objects as stored, valid as `kproxy.api` leaves them, and the controllers over them.

    `balancer_cidrs` are pools of the built-in load balancer controller, at most one for each
    family; without them LoadBalancers stay pending. A `cloud` assigns addresses instead. Not
    thread-safe. Every verb either does everything it was asked or raises BadInput and changes
    nothing.
    """

    def __init__(
        self,
        service_cidrs: Sequence[str],
        *,
        random: Random,
        node_ports: range = NODE_PORTS,
        balancer_cidrs: Sequence[str] = (),
        cloud: Cloud | None = None,
    ) -> None:
        self._random = random
        self._allocation = ServiceAllocation(service_cidrs, random, node_ports)
        self._cloud = cloud
        self._balancers = None if cloud else LoadBalancers(balancer_cidrs)
        self._registry = Registry()
        self._cidrs = ServiceCIDRs(self._registry, service_cidrs)
        self._elsewhere: set[ObjectKey] = set()  # Pods that run outside this cluster's kubelets
        self._services_due: set[ServiceKey] = set()
        self._balancers_due: set[ServiceKey] = set()
        self._deployments_due: set[ObjectKey] = set()
        self._scheduling_due = False
        self._warnings = ClusterWarnings()

    # --- users -----------------------------------------------------------------------------------

    def apply(self, objects: Iterable[KubernetesObject]) -> Mapping[ObjectKey, Texts]:
        """Create or update objects, and return the API server's warnings about those that changed.

        The status in the objects is ignored, with three exceptions.

        A Node's status is stored. A new Service may have its load balancer's addresses. A new Pod
        with `status.podIPs` runs elsewhere already: its status is what its manifest says.
        """
        return self._apply(objects, others=())

    def refusals(self, objects: Iterable[KubernetesObject]) -> list[str]:
        """Return why `apply` would refuse some of these objects. Nothing changes."""
        problems = self._judged(objects).problems
        self._revert()
        return problems

    def _apply(
        self, objects: Iterable[KubernetesObject], others: Sequence[ObjectKey]
    ) -> Mapping[ObjectKey, Texts]:
        """Create or update objects. `others` will be deleted, which the cloud is told."""
        fresh, allocated, elsewhere, problems = self._judged(objects)
        admitted = Update(upserts=tuple(allocated), deletes=tuple(others))
        try:
            if problems:
                raise BadInput(problems)
            if self._cloud:
                admitted = self._cloud.admit(admitted)
        except BadInput:
            self._revert()
            raise
        self._elsewhere |= elsewhere
        told: dict[ObjectKey, Texts] = {}
        for each in (*fresh.values(), *admitted.upserts):
            key = object_key(each)
            former = self._registry.get(key)
            if self._write(each):
                note(told, key, api_warnings(each, former))
                self._warnings.api.pop(key, None)
        self._warnings.api |= told
        return told

    def _judged(self, objects: Iterable[KubernetesObject]) -> _Judged:
        """Return the objects to store. What Services get is allocated until `_revert`."""
        fresh: dict[ObjectKey, KubernetesObject] = {}
        services: list[Service] = []
        elsewhere = set[ObjectKey]()
        reserved: list[str] = []
        problems: list[str] = []
        for obj in objects:
            key = object_key(obj)
            former = fresh.get(key) or self._registry.get(key)
            if isinstance(obj, Service):
                services.append(obj)
                continue
            if isinstance(obj, Pod) and former is None and obj.status.pod_ips:
                elsewhere.add(key)
            if isinstance(obj, IPAddress) and former is None:
                reserved.append(obj.metadata.name)
            try:
                away = key in elsewhere or key in self._elsewhere
                fresh[key] = object_updates.stored(obj, former, elsewhere=away)
            except BadInput as error:
                problems += error.problems
        self._allocation.use(self._cidrs.ranges(fresh.values()), reserved)
        allocated = self._allocation.admit(services, self._registry.service, problems)
        return _Judged(fresh, allocated, elsewhere, problems)

    def _revert(self) -> None:
        """Let Services hold what is stored."""
        self._allocation.revert(
            self._registry.all(Service), self._cidrs.all_ranges(), self._cidrs.reserved()
        )

    def delete(self, keys: Iterable[ObjectKey], now: str) -> None:
        """Delete objects. `now` becomes the `deletionTimestamp` of Pods that have to be stopped.

        With a Deployment its Pods are deleted, with a Service its Endpoints and the slices that
        controllers wrote for it. Deleting a Pod that terminates already changes nothing.
        """
        keys = list(dict.fromkeys(keys))
        if unknown := [each for each in keys if self._registry.get(each) is None]:
            raise BadInput([not_found(each) for each in unknown])
        for key in keys:
            if isinstance(obj := self._registry.get(key), Service):
                self._allocation.release(obj)
        self._delete(keys, now)

    def replace(
        self,
        objects: Iterable[KubernetesObject],
        others: Sequence[ObjectKey],
        now: str,
    ) -> Mapping[ObjectKey, Texts]:
        """Apply `objects` and delete `others`, whose addresses and ports the former may take.

        Returns warnings as `apply` does.
        """
        for key in others:
            if isinstance(obj := self._registry.get(key), Service):
                self._allocation.release(obj)
        told = self._apply(objects, others)  # if it refuses, all Services keep what they hold
        self._delete(others, now)
        return told

    def scale(self, namespace: str, name: str, replicas: int) -> None:
        """Set a Deployment's replica count.

        Raises TypeError unless `replicas` is an integer; nothing has changed then.
        """
        replicas = operator.index(replicas)
        key = (DEPLOYMENT, namespace, name)
        found = self._registry.get(key)
        if not isinstance(found, Deployment):
            raise BadInput([not_found(key)])
        if replicas < 0:
            least = "must be greater than or equal to 0"
            told = f"spec.replicas: Invalid value: {replicas}: {least}"
            raise refusal(found, [told])
        self._write(altered(found, spec=altered(found.spec, replicas=replicas)))

    # --- the kubelet -----------------------------------------------------------------------------

    def set_pod_status(self, key: ObjectKey, status: PodStatus) -> None:
        """Store a status from the kubelet; ignored if the Pod was deleted meanwhile."""
        if pod := self._registry.pod(key):
            self._write(altered(pod, status=status))

    def pod_stopped(self, key: ObjectKey) -> None:
        """Remove a Pod that its kubelet has stopped, whether it was asked to or not."""
        self._remove(key)

    # --- the controllers -------------------------------------------------------------------------

    def reconcile(self, now: str) -> bool:
        """Run all controllers until nothing is left to do; return whether anything changed.

        `now` becomes the `deletionTimestamp` of Pods that a Deployment deletes.
        """
        before = self._registry.revision
        while self._deployments_due or self._scheduling_due:
            due, self._deployments_due = sorted(self._deployments_due), set()
            for key in due:
                self._run_deployment(key, now)
            if self._scheduling_due:
                self._scheduling_due = False
                self._schedule()
        self._cidrs.reconcile()
        self._assign_balancers()
        due_services, self._services_due = sorted(self._services_due), set()
        for service in due_services:
            self._run_service(service)
        return self._registry.revision != before

    def _run_deployment(self, key: ObjectKey, now: str) -> None:
        deployment = self._registry.get(key)
        if not isinstance(deployment, Deployment):
            return
        namespace = deployment.metadata.namespace
        owned = self._registry.owned(key)
        step = deployments.next_step(
            deployment,
            owned,
            lambda name: self._registry.get(("Pod", namespace, name)) is not None,
        )
        for pod in step.release:
            self._write(deployments.without_owner(pod))
        for pod in step.delete:
            self._delete_pod(pod, now)
        for pod in step.create:
            self._write(pod)
        status = deployments.status_of(deployment, self._registry.owned(key))
        self._registry.put(altered(deployment, status=status))

    def _schedule(self) -> None:
        self._warnings.unscheduled = {}
        waiting = [
            pod
            for pod in self._registry.without_ip()
            if not members.is_terminating(pod) and not members.is_terminal(pod)
        ]
        for pod in waiting:
            if (name := pod.spec.node_name) and not self._registry.node(name):
                self._warnings.unscheduled[object_key(pod)] = (
                    f"spec.nodeName: Node {name!r} does not exist; it stays Pending"
                    " (a real cluster deletes such a Pod)"
                )
        homeless = [pod for pod in waiting if not pod.spec.node_name]
        if not homeless:
            return
        placed = [pod for pod in self._registry.all(Pod) if pod.spec.node_name]
        scheduler = Scheduler(self._registry.all(Node), placed)
        for pod in homeless:
            if name := scheduler.place(pod):
                self._write(replace(pod, spec=replace(pod.spec, node_name=name)))
            else:
                self._warnings.unscheduled[object_key(pod)] = scheduler.why_not(pod)

    def _assign_balancers(self) -> None:
        """Assign addresses. Pending Services are tried again, as others may have freed some."""
        if self._balancers is None:
            return
        altered_any = bool(self._balancers_due)
        while altered_any:
            altered_any = False
            keys, self._balancers_due = self._balancers_due | self._warnings.balancers.keys(), set()
            found = [(key, self._registry.service(key)) for key in keys]
            for key, service in sorted(found, key=_balancer_order):
                warnings: Texts = ()
                if service:
                    assigned, warnings = self._balancers.assign(service)
                    altered_any |= self._registry.put(assigned)
                note(self._warnings.balancers, key, warnings)

    def _run_service(self, key: ServiceKey) -> None:
        edits = service_endpoints.edits(key, self._registry, self._random)
        for obj in edits.write:
            self._warnings.api.pop(object_key(obj), None)  # no longer what a user wrote
            self._registry.put(obj)
        for obsolete in edits.delete:
            self._warnings.api.pop(obsolete, None)
            self._registry.remove(obsolete)
        note(self._warnings.endpoints, key, edits.warnings)

    # --- reading ---------------------------------------------------------------------------------

    def take_changes(self) -> Update:
        """Return what changed since the last call."""
        return self._registry.take_changes()

    def object(self, key: ObjectKey) -> KubernetesObject | None:
        return self._registry.get(key)

    def objects(self, kind: type[_T]) -> list[_T]:
        """Return all objects of a kind by namespace and name."""
        return sorted(self._registry.all(kind), key=object_key)

    def pods_to_run(self) -> list[Pod]:
        """Return the Pods that a kubelet has to start: on an existing Node, without an address."""
        return [
            pod
            for pod in self._registry.without_ip()
            if not members.is_terminating(pod)
            and not members.is_terminal(pod)
            and self._registry.node(pod.spec.node_name)
        ]

    def services_of(self, pod: Pod) -> list[Service]:
        """Return all Services that select the Pod, and maybe more, by name."""
        keys = sorted({*self._registry.selecting(pod)})
        return [found for key in keys if (found := self._registry.service(key))]

    @property
    def warnings(self) -> Mapping[ObjectKey, Texts]:
        """Return, as of the last `reconcile`, what users may not expect, by object.

        What the API server warned of stays until the object is written again.
        """
        return self._warnings.by_object(self._registry.pod, self._cidrs.warnings())

    # --- writes, and the controllers they concern ------------------------------------------------

    def _write(self, obj: KubernetesObject) -> bool:
        """Store an object; return whether that changed anything."""
        former = self._registry.get(object_key(obj))
        changed = self._registry.put(obj)
        if changed:
            self._cidrs.follow(former, obj)
            self._note(obj)
            if former is not None:
                self._note(former)
        return changed

    def _remove(self, key: ObjectKey) -> None:
        self._elsewhere.discard(key)
        self._warnings.api.pop(key, None)
        if former := self._registry.remove(key):
            self._cidrs.follow(former, None)
            self._note(former)

    def _delete(self, keys: Iterable[ObjectKey], now: str) -> None:
        for key in keys:
            obj = self._registry.get(key)
            match obj:
                case None:
                    pass  # deleted along with another one
                case Pod():
                    self._delete_pod(obj, now)
                case Deployment():
                    self._remove(key)
                    for pod in self._registry.owned(key):
                        self._delete_pod(pod, now)
                case Service():
                    if self._balancers:
                        self._balancers.release((key[1], key[2]))
                    self._remove(key)
                    self._warnings.api.pop(("Endpoints", *key[1:]), None)
                    self._registry.remove(("Endpoints", *key[1:]))
                case ServiceCIDR() | IPAddress():
                    if left := self._cidrs.deleted(obj, now):
                        self._write(left)
                    else:
                        self._remove(key)
                        self._allocation.free_address(key[2])
                case _:
                    self._remove(key)

    def _delete_pod(self, pod: Pod, now: str) -> None:
        """Delete a Pod: at once if no kubelet has to stop it."""
        key = object_key(pod)
        if key in self._elsewhere or not pod.status.pod_ips:
            self._remove(key)
        elif not members.is_terminating(pod):
            self._write(replace(pod, metadata=replace(pod.metadata, deletion_timestamp=now)))

    def _note(self, obj: KubernetesObject) -> None:
        meta = obj.metadata
        match obj:
            case Pod():
                self._services_due.update(self._registry.selecting(obj))
                if owner := owner_of(obj):
                    self._deployments_due.add(owner)
                self._scheduling_due |= not obj.status.pod_ips
            case Service():
                self._services_due.add((meta.namespace, meta.name))
                self._balancers_due.add((meta.namespace, meta.name))
            case Endpoints():
                self._services_due.add((meta.namespace, meta.name))
            case EndpointSlice():
                if of := service_of(obj):
                    self._services_due.add(of)
            case Deployment():
                self._deployments_due.add(object_key(obj))
            case Node():
                self._scheduling_due = True
                self._services_due.update(
                    (each.metadata.namespace, each.metadata.name)
                    for each in self._registry.all(Service)
                )


def _balancer_order(
    found: tuple[ServiceKey, Service | None],
) -> tuple[bool, bool, bool, ServiceKey]:
    """Return the order: Services that free addresses first, then those that have or ask for one."""
    key, service = found
    if service is None or service.spec.type != "LoadBalancer":
        return False, False, False, key
    has = bool(service.status.load_balancer.ingress)
    return True, not has, not service.spec.load_balancer_ip, key
