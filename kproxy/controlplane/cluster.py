"""The objects in the API server of a cluster, and the controllers that work on them.

    manifests -> apply, delete, scale -------+
    kubelet   -> set_pod_status, pod_stopped +-> Registry -> dirty keys -> reconcile -> take_changes

A write notes which controllers it concerns; `reconcile` runs these until nothing is due. So its
cost depends on what changed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple, Protocol, TypeVar

from kproxy.api.checks import altered
from kproxy.api.types import (
    Deployment,
    IPAddress,
    KubernetesObject,
    Pod,
    PodStatus,
    Service,
    ServiceCIDR,
)
from kproxy.controlplane import members, object_updates, refusals, service_endpoints, submitted
from kproxy.controlplane.api_service import api_service, restore
from kproxy.controlplane.api_warnings import api_warnings
from kproxy.controlplane.balancing import Balancing
from kproxy.controlplane.cluster_warnings import ClusterWarnings, Texts, note
from kproxy.controlplane.deletions import Deletions
from kproxy.controlplane.events import Told
from kproxy.controlplane.field_errors import not_found, refusal
from kproxy.controlplane.load_balancers import LoadBalancers
from kproxy.controlplane.namespaces import Namespaces
from kproxy.controlplane.placement import Placement
from kproxy.controlplane.plane import Json
from kproxy.controlplane.port_allocator import NODE_PORTS
from kproxy.controlplane.registry import DEPLOYMENT, Registry
from kproxy.controlplane.service_allocation import ServiceAllocation
from kproxy.controlplane.service_cidrs import ServiceCIDRs
from kproxy.controlplane.stored_documents import Documents
from kproxy.controlplane.workloads import Workloads
from kproxy.controlplane.writes import Writes
from kproxy.errors import BadInput
from kproxy.store import ObjectKey, ServiceKey, Update, object_key

EPOCH = "1970-01-01T00:00:00Z"
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
        now: Callable[[], str] = lambda: EPOCH,
    ) -> None:
        """Take the ranges, and `now`, which tells the time as objects bear it."""
        self._random = random
        self._allocation = ServiceAllocation(service_cidrs, random, node_ports)
        self._cloud = cloud
        balancers = None if cloud else LoadBalancers(balancer_cidrs)
        self._registry = Registry(now)
        self._service_cidrs = tuple(service_cidrs)
        self._cidrs = ServiceCIDRs(self._registry, service_cidrs)
        self._warnings = ClusterWarnings()
        self.writes = Writes(self._registry, self._cidrs, self._warnings, now)
        self._write = self.writes.write
        self._remove = self.writes.remove
        self._api: list[KubernetesObject] = []  # the Service `kubernetes`, and its endpoints
        self._services: list[ServiceKey] = []  # whose endpoints are due, the first one last
        self._placement = Placement(self.writes, self._warnings)
        self._balancers = Balancing(balancers, self.writes, self._warnings) if balancers else None
        self._namespaces = Namespaces(self.writes)
        self._workloads = Workloads(self.writes)
        self._deletions = Deletions(self.writes, self._namespaces, self._delete_whole)

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
        self.writes.elsewhere |= elsewhere
        told: dict[ObjectKey, Texts] = {}
        for each in (*fresh.values(), *admitted.upserts):
            key = object_key(each)
            self._namespaces.ensure(key[1])
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
            if former is None and key[1] in self.writes.terminating:
                problems.append(str(refusals.namespace_ends(key)))
                continue
            if isinstance(obj, Service):
                services.append(obj)
                continue
            if isinstance(obj, Pod) and former is None and obj.status.pod_ips:
                elsewhere.add(key)
            if isinstance(obj, IPAddress) and former is None:
                reserved.append(obj.metadata.name)
            try:
                away = key in elsewhere or key in self.writes.elsewhere
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
        keys = tuple(dict.fromkeys(keys))
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
        if faults := submitted.replica_faults(replicas):
            raise refusal(found, faults)
        self._write(altered(found, spec=altered(found.spec, replicas=replicas)))

    def publish_api(
        self, addresses: Sequence[str], port: int, root_ca: Mapping[str, str]
    ) -> list[KubernetesObject]:
        """Let Pods find an API server; return the objects of the Service `kubernetes`.

        `root_ca` is the data of the ConfigMap `kube-root-ca.crt` of every namespace.
        """
        self._api = api_service(self._service_cidrs, addresses, port)
        self.apply(self._api)
        self._namespaces.publish(root_ca)
        return self._api

    def describe_node(self, name: str, facts: Callable[[Json, str], Json]) -> None:
        """Store a Node's document with what `facts` makes of it, given the time."""
        key: ObjectKey = ("Node", "", name)
        documents = self._registry.documents
        if document := documents.get(key):
            whole = facts(document, documents.now())
            self.writes.store(submitted.typed(whole, documents), whole, dry_run=False)

    # --- documents, for an API -------------------------------------------------------------------

    @property
    def documents(self) -> Documents:
        """The documents of all objects."""
        return self._registry.documents

    def submit(self, obj: KubernetesObject, document: Json, *, dry_run: bool) -> tuple[Json, Texts]:
        """Store an object with its document; return it as stored, and warnings. Raises BadInput."""
        key = object_key(obj)
        former = self._registry.get(key)
        if isinstance(obj, Service):
            before = former if isinstance(former, Service) else None
            obj = self._allocation.admit_one(obj, before, self._cidrs.ranges())
            try:
                if self._cloud and not dry_run:
                    (admitted,) = self._cloud.admit(Update(upserts=(obj,))).upserts
                    obj = admitted
            except BadInput:
                self._revert()
                raise
        else:
            obj = object_updates.stored(obj, former, elsewhere=key in self.writes.elsewhere)
            if isinstance(obj, IPAddress) and former is None and not dry_run:
                self._allocation.use(self._cidrs.ranges(), [obj.metadata.name])
        told = api_warnings(obj, former)
        found = self.writes.store(obj, document, dry_run=dry_run)
        if dry_run:
            self._revert()
        else:
            note(self._warnings.api, key, told)
        return found, told

    def delete_document(self, key: ObjectKey, propagation: str, grace_s: int | None) -> None:
        """Delete an object as an API does: finalizers and dependents have their say."""
        if key[0] == "Pod" and grace_s is not None:
            self.writes.graces_s[key] = grace_s
            if grace_s == 0 and (pod := self._registry.pod(key)) and not pod.metadata.finalizers:
                self._remove(key)
                return
        self._deletions.delete(key, propagation, self._registry.documents.now())

    def finalized(self, key: ObjectKey) -> None:
        """Remove an object that is being deleted if nothing holds it any more."""
        self._deletions.finalized(key, self._registry.documents.now())

    def namespace_state(self, name: str) -> str:
        """Return the phase of a Namespace, Active or Terminating; "" if it does not exist."""
        return self._namespaces.state(name)

    def grace_s(self, pod: Pod) -> int:
        """Return the seconds that a Pod has to end, as asked for or as it says itself."""
        stated = pod.spec.termination_grace_period_seconds
        return self.writes.graces_s.get(object_key(pod), stated)

    def tell(self, told: Told) -> None:
        self.writes.tell(told)

    # --- the kubelet -----------------------------------------------------------------------------

    def set_pod_status(self, key: ObjectKey, status: PodStatus) -> None:
        """Store a status from the kubelet; ignored if the Pod was deleted meanwhile."""
        if pod := self._registry.pod(key):
            self._write(altered(pod, status=status))

    def pod_stopped(self, key: ObjectKey) -> None:
        """Remove a Pod that its kubelet has stopped, whether it was asked to or not.

        One with finalizers stays until they are gone.
        """
        pod = self._registry.pod(key)
        if pod and pod.metadata.finalizers and members.is_terminating(pod):
            self._write(altered(pod, status=PodStatus(phase="Succeeded")))
        else:
            self._remove(key)

    # --- the controllers -------------------------------------------------------------------------

    def reconcile(self, now: str) -> bool:
        """Run all controllers until nothing is left to do; return whether anything changed.

        `now` becomes the `deletionTimestamp` of Pods that a Deployment deletes.
        """
        before = self._registry.revision
        while self.reconcile_some(now):
            pass
        return self._registry.revision != before

    def reconcile_some(self, now: str, services: int = 1000) -> bool:
        """Run all controllers, for at most so many Services; return whether more are due."""
        while True:
            self._workloads.reconcile(now)
            if self.writes.scheduling_due:
                self.writes.scheduling_due = False
                self._placement.schedule()
            self._placement.evict(now)
            self._namespaces.reconcile()
            self._deletions.reconcile(now)
            if not (self.writes.workloads_due or self.writes.scheduling_due):
                break
        restore(self._api, self._registry, self.apply)
        self._cidrs.reconcile()
        if self._balancers:
            self._balancers.assign()
        if not self._services:
            self._services = sorted(self.writes.services_due, reverse=True)
            self.writes.services_due.clear()
        for _ in range(min(services, len(self._services))):
            self._run_service(self._services.pop())
        return bool(self._services or self.writes.services_due)

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

    def exists(self, key: ObjectKey) -> bool:
        """Tell whether there is an object of this key, whether it has a type or not."""
        return bool(self._registry.documents.uid(key))

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

    # --- deletions -------------------------------------------------------------------------------

    def _delete(self, keys: Iterable[ObjectKey], now: str) -> None:
        for key in keys:
            self._delete_one(key, now)

    def _delete_whole(self, key: ObjectKey, now: str) -> None:
        """Delete an object, with the addresses and ports that it holds."""
        if isinstance(obj := self._registry.get(key), Service):
            self._allocation.release(obj)
        self._delete_one(key, now)

    def _delete_one(self, key: ObjectKey, now: str) -> None:
        """Delete an object, if it has not been deleted along with another one."""
        obj = self._registry.get(key)
        match obj:
            case Pod():
                self.writes.delete_pod(obj, now)
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
