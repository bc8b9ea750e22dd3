"""The control plane of a lab: it brings the objects into effect, on every node.

    apply, delete, scale ──> Cluster: objects and controllers ──> Kubelet: pods run, or end
                               ^                                     |
                               +──────────── statuses ───────────────+
                               |
                               +──> changes: every node's proxy, load balancers, DNS

Each verb repeats this until nothing changes; so it returns when all that needs no waiting is done,
and is in the kernel of every node. What needs waiting (probes' periods, preStop hooks, open
connections) is done by a thread of its own, in the same way, under the same lock.

The `plane` is for an API server: its writes are answered once they are stored, also while proxies
are told of others. The thread brings them into effect, many at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from queue import Empty, SimpleQueue
from typing import TypeVar

from kproxy.api.typed_kinds import TYPES, as_read
from kproxy.api.types import (
    EndpointSlice,
    Ingress,
    KubernetesObject,
    Node,
    Service,
    ServiceCIDR,
)
from kproxy.backend import SyncReport
from kproxy.controlplane import namespaces, service_cidrs
from kproxy.controlplane.applied_documents import AppliedDocuments
from kproxy.controlplane.field_errors import not_found
from kproxy.controlplane.kubectl_apply import merged
from kproxy.controlplane.plane import Json, Write
from kproxy.controlplane.registry import document_key
from kproxy.dns.resolv import resolv_conf
from kproxy.errors import BadInput, TimedOut
from kproxy.lab.cluster.kubelet import Kubelet
from kproxy.lab.cluster.node_leases import NodeLeases
from kproxy.lab.cluster.pace import Pace, Turn
from kproxy.lab.cluster.plane import LabPlane
from kproxy.lab.cluster.pod_handle import PodHandle
from kproxy.lab.cluster.served_ports import unserved
from kproxy.lab.cluster.shared_cluster import SharedCluster, now
from kproxy.lab.cluster.sight import described, sight
from kproxy.lab.following import Followers
from kproxy.lab.hosts import LabPod
from kproxy.lab.names import host_name
from kproxy.lab.objects import selected
from kproxy.lab.pods.access import LabPods, ServiceAccount
from kproxy.lab.pods.environment import Documents
from kproxy.lab.proxies import SyncReports
from kproxy.store import ObjectKey, Update, object_key

of_objects = logging.getLogger("kproxy.warnings")  # of what `Lab.warnings` holds, too
_T = TypeVar("_T", bound=KubernetesObject)
_WATCHED = (
    Service,
    EndpointSlice,
    Node,
    Ingress,
    ServiceCIDR,
)  # by proxies, load balancers and ingresses
_WATCHED_KINDS = frozenset(each.__name__ for each in _WATCHED)
_CLOSE = ""
_LONGEST_PAUSE_S = 3600.0  # then it looks again: manifests may ask for more than Python can wait


class ControlPlane:
    """A lab's control plane, made when the hosts and proxies exist; it runs from `start` to
    `close`.
    """

    admits = True

    def __init__(
        self,
        cluster: SharedCluster,
        kubelet: Kubelet,
        followers: Followers,
        nameservers: Sequence[str],
        facts: Callable[[Json, str], Json] = lambda document, _: document,
    ) -> None:
        """Take the `followers` of Services, EndpointSlices, Nodes, Ingresses and ServiceCIDRs, the
        addresses of the cluster's DNS (`nameservers`), and what adds facts to a Node's document,
        given the time.
        """
        self._cluster = cluster
        self._kubelet = kubelet
        self._followers = followers
        self._nameservers = tuple(nameservers)
        self._facts = facts
        self._leases = NodeLeases(cluster)
        self._own: frozenset[ObjectKey] = frozenset()  # of the lab
        self._written: set[ObjectKey] = set()  # by callers, besides
        self._applied: dict[ObjectKey, KubernetesObject] = {}  # as callers gave them last
        self._documents = AppliedDocuments(cluster)  # of kinds without a type
        self._settled = Turn()  # its lock guards all fields
        self._news: SimpleQueue[str | None] = SimpleQueue()  # names of pods, asked by their probes
        self._failure: BaseException | None = None
        self.plane = LabPlane(cluster, lambda: self._news.put(None))
        self._thread = threading.Thread(target=self._go_on, name="kproxy-control", daemon=True)

    def start(self, own: Iterable[KubernetesObject]) -> None:
        """Start with the lab's `own` objects. Raises BadInput, and what syncing raises."""
        own = tuple(own)
        self._own = frozenset(map(object_key, own)) | {service_cidrs.DEFAULT}
        self._own |= {("Namespace", "", each) for each in namespaces.SYSTEM}
        nodes = [each.metadata.name for each in own if isinstance(each, Node)]
        self._leases.start(nodes)
        self._thread.start()
        with self._changing():
            self._cluster.apply(own)
            for name in nodes:
                self._cluster.describe_node(name, self._facts)

    def follow(self, listener: Callable[[Write], None]) -> list[Json]:
        return self.plane.follow(listener)[0]

    def publish_api(
        self, addresses: Sequence[str], port: int, root_ca: Mapping[str, str]
    ) -> SyncReports:
        """Let pods find an API server: the Service `kubernetes` leads to these addresses.

        `root_ca` is the data of the ConfigMap `kube-root-ca.crt` of every namespace.
        Raises what syncing raises.
        """
        with self._changing() as reports:
            objects = self._cluster.publish_api(addresses, port, root_ca)
            self._own |= {*map(object_key, objects)}
        return reports

    def close(self) -> None:
        """Stop the thread. Raises its error, if it had one that no caller was told."""
        if self._thread.ident is not None:
            self._news.put(_CLOSE)
            self._thread.join()
        self._raise_failure()

    def probe_changed(self, name: str) -> None:
        """Note that the pod `name` became ready or unready; called by the thread of the probes."""
        self._news.put(name)

    def apply(
        self, objects: Iterable[KubernetesObject], documents: Sequence[Json] = ()
    ) -> SyncReports:
        """Add or change objects, as `kubectl apply` does; of kinds without a type, `documents`.

        Raises BadInput; nothing has changed then. Raises what syncing raises.
        """
        objects = tuple(objects)
        with self._changing() as reports, self._cluster.lock:
            if self._documents.refusals(documents):
                raise BadInput(self.refusals(objects, documents))
            _say(self._cluster.apply(map(self._merged, objects)))
            self._documents.apply(documents)
            self._applied.update((object_key(each), each) for each in objects)
            self._written |= _keys(objects, documents) - self._own
        return reports

    def refusals(
        self, objects: Iterable[KubernetesObject], documents: Sequence[Json] = ()
    ) -> list[str]:
        """Return why `apply` would refuse some of these objects. Nothing changes."""
        with self._settled, self._cluster.lock:
            refused = self._cluster.refusals(map(self._merged, objects))
            return [*refused, *self._documents.refusals(documents)]

    def delete(self, keys: Iterable[ObjectKey]) -> SyncReports:
        """Delete objects. Raises BadInput; nothing has changed then. Raises what syncing raises."""
        keys = tuple(dict.fromkeys(keys))
        typed = [key for key in keys if key[0] in TYPES]
        others = [key for key in keys if key[0] not in TYPES]
        with self._changing() as reports, self._cluster.lock:
            if refused := self._documents.refusals_to_delete(others):
                unknown = [not_found(key) for key in typed if not self._cluster.exists(key)]
                raise BadInput([*unknown, *refused])
            self._cluster.delete(typed, now())
            self._documents.delete(others)
            self._written -= {*keys}
            for key in keys:
                self._applied.pop(key, None)
        return reports

    def scale(self, namespace: str, name: str, replicas: int) -> SyncReports:
        """Set a Deployment's replica count.

        Raises BadInput; nothing has changed then. Raises what syncing raises.
        """
        with self._changing() as reports:
            self._cluster.scale(namespace, name, replicas)
        return reports

    def set_health(self, name: str, *, healthy: bool) -> SyncReports:
        """Let a pod pass or fail its readiness probe from now on."""
        with self._changing() as reports:
            self._kubelet.set_health([name], healthy=healthy)
        return reports

    def restart(self, name: str) -> SyncReports:
        """Replace a pod's sandbox by one with other addresses."""
        with self._changing() as reports:
            self._kubelet.restart(name)
        return reports

    def replace(
        self, objects: Iterable[KubernetesObject], documents: Sequence[Json] = ()
    ) -> SyncReports:
        """Make these objects, and `documents` of kinds without a type, all there is besides the
        lab's own objects. A Namespace stays as long as there is something in it.

        Raises BadInput; nothing has changed then. Raises what syncing raises.
        """
        objects = tuple(objects)
        with self._changing() as reports, self._cluster.lock:
            if refused := self._documents.refusals(documents):
                raise BadInput([*self._cluster.refusals(objects), *refused])
            wanted = _keys(objects, documents)
            used: set[ObjectKey] = {("Namespace", "", key[1]) for key in wanted | self._own}
            self._written |= self.plane.take_created() - self._own
            obsolete = self._written - wanted - used
            others = [key for key in obsolete if self._cluster.exists(key)]
            ended = [key for key in others if key[0] == "Namespace"]
            content = [key for key in others if key[0] != "Namespace"]
            _say(self._cluster.replace(objects, content, now()))
            self._documents.delete(ended)
            self._documents.apply(documents)
            self._written = (wanted - self._own) | (self._written & used)
            self._applied = {object_key(each): each for each in objects}
        return reports

    @property
    def pods(self) -> Mapping[str, LabPod]:
        """The running pods, by host name."""
        return self._kubelet.pods

    def is_ready(self, name: str) -> bool:
        """Tell whether the running pod `name` is ready."""
        with self._settled:
            return self._kubelet.is_ready(name)

    def resolv_conf(self, namespace: str) -> str:
        """Return the resolv.conf of the pods of a namespace."""
        return resolv_conf(self._nameservers, namespace)

    def pod(self, namespace: str, name: str) -> PodHandle:
        """Return a handle of a running pod. Raises BadInput if no such pod runs."""
        host, running = host_name(name, namespace), self.pods
        if host not in running:
            text = ", ".join(running) or "none"
            raise BadInput([f"no pod {name} of namespace {namespace} runs; there are: {text}"])
        return PodHandle(self, host)

    def pod_access(
        self,
        documents: Documents,
        api_server: tuple[str, int] | None,
        service_account: ServiceAccount,
    ) -> LabPods:
        """Return what an API needs of the pods, as `Lab.pod_access` describes it."""
        return LabPods(
            self._kubelet.runtime,
            lambda: self.pods,
            self.settle,
            documents,
            self.resolv_conf,
            api_server=api_server,
            service_account=service_account,
        )

    def get(self, key: ObjectKey) -> KubernetesObject:
        """Return an object. Raises BadInput if it does not exist."""
        with self._settled:
            found = self._cluster.object(key)
        if found is None:
            kind, namespace, name = key
            raise BadInput([f"there is no {kind} {name} in namespace {namespace!r}"])
        return found

    def objects(self, kind: type[_T]) -> list[_T]:
        """Return all objects of a kind, by namespace and name."""
        with self._settled:
            return self._cluster.objects(kind)

    @property
    def warnings(self) -> Mapping[ObjectKey, tuple[str, ...]]:
        """Warnings, by the object that each is about."""
        with self._settled:
            found: dict[ObjectKey, tuple[str, ...]] = defaultdict(tuple)
            for key, texts in self._cluster.warnings.items():
                if key not in self._own:  # nobody has written these
                    found[key] = texts
            for key, text in self._kubelet.problems.items():
                found[key] += (text,)
            running = self.pods.values()
            for service in self._cluster.objects(Service):
                if told := tuple(unserved(service, selected(service, running))):
                    found[object_key(service)] += told
            return dict(found)

    def settle(self) -> None:
        """Return when what is written so far is in effect, as far as kernels allow it: a failure is
        for the next verb.
        """
        with self._settled:
            self._settle_or_keep_failure()

    def wait_for(self, comes_true: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `comes_true` returns true, called after every change. Returns True.

        Raises TimedOut, and an error of the thread that happened meanwhile.
        """
        with self._settled:
            found = self._settled.wait_for(lambda: self._failure or comes_true(), timeout_s)
            self._raise_failure()
            if not found:
                seen = sight(self._cluster, self.warnings)
                raise TimedOut(
                    "\n".join([f"not true within {timeout_s:g} s: {described(comes_true)}", *seen])
                )
            return True

    def _merged(self, wanted: KubernetesObject) -> KubernetesObject:
        """Return what an update of `wanted` makes of the stored object; merges only Services."""
        key = object_key(wanted)
        stored, last = self._cluster.object(key), self._applied.get(key)
        if not isinstance(wanted, Service) or not isinstance(stored, Service):
            return wanted
        return merged(stored, last if isinstance(last, Service) else None, wanted)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, list[SyncReport]]]:
        """Let the block change the cluster, then bring the changes into effect; yield the reports
        of all syncs, which are complete after the block.
        """
        reports: dict[str, list[SyncReport]] = defaultdict(list)
        with self._settled:
            self._raise_failure()
            try:
                yield reports
                self._settle(reports)
            finally:
                self._news.put(None)  # something may be due earlier than the thread thinks

    def _settle(self, reports: dict[str, list[SyncReport]], pace: Pace | None = None) -> None:
        """Reconcile until nothing changes. Pods start before the followers are told of them, and
        end after all followers were told.
        """
        self._leases.renew()
        while True:
            self._cluster.reconcile(now(), pace.rest if pace else _at_once)
            if self._kubelet.start():
                continue
            changed = self._cluster.take_changes()
            if changed:
                self._kubelet.open_ports(changed)
                for node, its_reports in self._tell(changed, pace).items():
                    reports[node] += its_reports
                self._kubelet.close_ports(changed)
                if pace and self.plane.is_written:
                    break  # the next round takes this in, with what comes until then
            elif not self._kubelet.terminate():
                break
        self._settled.notify_all()

    def _tell(self, changed: Update, pace: Pace | None) -> SyncReports:
        update = Update(
            upserts=tuple(as_read(each) for each in changed.upserts if isinstance(each, _WATCHED)),
            deletes=tuple(key for key in changed.deletes if key[0] in _WATCHED_KINDS),
        )
        rest = pace.rest if pace and pace.is_needed else None
        return self._followers.follow(update, rest) if update else {}

    def _go_on(self) -> None:
        """Run the thread until it is closed. What failed is tried again when there is news, or when
        a caller was told of the failure.
        """
        while True:
            with self._settled:
                due = inf if self._failure else self._due()
            wait_s = None if due == inf else min(max(due - time.monotonic(), 0), _LONGEST_PAUSE_S)
            try:
                news = [self._news.get(timeout=wait_s)]
            except Empty:
                news = []
            news += self._more_news()
            if _CLOSE in news:
                return
            with self.plane.taken(), self._settled:
                pace = Pace(self.plane.last_write, lambda: self._settled.is_awaited)
                self._settle_or_keep_failure(filter(None, news), pace)

    def _due(self) -> float:
        """Return when something has to be done by itself, by the monotonic clock; inf for never."""
        with self._cluster.lock:
            workloads_s = self._cluster.writes.due() - time.time() + time.monotonic()
        return min(self._kubelet.due(), self._leases.due(), workloads_s)

    def _settle_or_keep_failure(self, probed: Iterable[str] = (), pace: Pace | None = None) -> None:
        """Look at the probes of these pods, and settle; a failure is kept: nobody waits for it."""
        try:
            for name in probed:
                self._kubelet.look_at_probe(name)
            self._settle(defaultdict(list), pace)
        except BaseException as error:
            self._failure = self._failure or error
            self._settled.notify_all()

    def _more_news(self) -> list[str | None]:
        """Return what there is, and what comes while the plane is being written to."""
        news: list[str | None] = []
        while _CLOSE not in news:
            pause_s = self.plane.pause_s()
            try:
                news.append(self._news.get(pause_s > 0, max(pause_s, 0)))
            except Empty:
                if self.plane.pause_s() <= 0:
                    break
        return news

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure:
            self._news.put(None)  # the thread goes on
            raise failure


def _at_once() -> None:
    """Rest not at all."""


def _keys(objects: Iterable[KubernetesObject], documents: Iterable[Json]) -> set[ObjectKey]:
    return {*map(object_key, objects), *map(document_key, documents)}


def _say(warnings: Mapping[ObjectKey, tuple[str, ...]]) -> None:
    """Log the API server's warnings, which kubectl prints, too."""
    for (kind, _, name), texts in warnings.items():
        for text in texts:
            of_objects.warning("%s %s: %s", kind, name, text)
