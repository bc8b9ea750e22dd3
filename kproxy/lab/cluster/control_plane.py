"""The control plane of a lab: it brings the objects into effect, on every node.

    apply, delete, scale ──> Cluster: objects and controllers ──> Kubelet: pods run, or end
                               ^                                     |
                               +──────────── statuses ───────────────+
                               |
                               +──> changes: every node's proxy, load balancers, DNS

Each verb repeats this until nothing changes; so it returns when all that needs no waiting is done,
and is in the kernel of every node. What needs waiting (probes' periods, preStop hooks, open
connections) is done by a thread of its own, in the same way, under the same lock.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from math import inf
from queue import Empty, SimpleQueue
from typing import TypeVar

from kproxy.api.manifests import as_read
from kproxy.api.types import (
    EndpointSlice,
    Ingress,
    KubernetesObject,
    Node,
    Service,
    ServiceCIDR,
)
from kproxy.backend import SyncReport
from kproxy.controlplane import service_cidrs
from kproxy.controlplane.cluster import Cluster
from kproxy.controlplane.kubectl_apply import merged
from kproxy.dns.resolv import resolv_conf
from kproxy.errors import BadInput, TimedOut
from kproxy.lab.cluster.kubelet import Kubelet
from kproxy.lab.cluster.pod_handle import PodHandle
from kproxy.lab.cluster.served_ports import unserved
from kproxy.lab.cluster.sight import described, sight
from kproxy.lab.following import Followers
from kproxy.lab.hosts import LabPod
from kproxy.lab.names import host_name
from kproxy.lab.objects import selected
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
        cluster: Cluster,
        kubelet: Kubelet,
        followers: Followers,
        nameservers: Sequence[str],
    ) -> None:
        """Take the `followers` of Services, EndpointSlices, Nodes, Ingresses and ServiceCIDRs, and
        the addresses of the cluster's DNS (`nameservers`).
        """
        self._cluster = cluster
        self._kubelet = kubelet
        self._followers = followers
        self._nameservers = tuple(nameservers)
        self._own: frozenset[ObjectKey] = frozenset()  # of the lab
        self._written: set[ObjectKey] = set()  # by callers, besides
        self._applied: dict[ObjectKey, KubernetesObject] = {}  # as callers gave them last
        self._settled = threading.Condition(threading.RLock())  # its lock guards all fields
        self._news: SimpleQueue[str | None] = SimpleQueue()  # names of pods, asked by their probes
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._go_on, name="kproxy-control", daemon=True)

    def start(self, own: Iterable[KubernetesObject]) -> None:
        """Start with the lab's `own` objects. Raises BadInput, and what syncing raises."""
        own = tuple(own)
        self._own = frozenset(map(object_key, own)) | {service_cidrs.DEFAULT}
        self._thread.start()
        with self._changing():
            self._cluster.apply(own)

    def close(self) -> None:
        """Stop the thread. Raises its error, if it had one that no caller was told."""
        if self._thread.ident is not None:
            self._news.put(_CLOSE)
            self._thread.join()
        self._raise_failure()

    def probe_changed(self, name: str) -> None:
        """Note that the pod `name` became ready or unready; called by the thread of the probes."""
        self._news.put(name)

    def apply(self, objects: Iterable[KubernetesObject]) -> SyncReports:
        """Add or change objects, as `kubectl apply` does.

        Raises BadInput; nothing has changed then. Raises what syncing raises.
        """
        objects = tuple(objects)
        with self._changing() as reports:
            _say(self._cluster.apply(map(self._merged, objects)))
            self._applied.update((object_key(each), each) for each in objects)
            self._written |= {*map(object_key, objects)} - self._own
        return reports

    def refusals(self, objects: Iterable[KubernetesObject]) -> list[str]:
        """Return why `apply` would refuse some of these objects. Nothing changes."""
        with self._settled:
            return self._cluster.refusals(map(self._merged, objects))

    def delete(self, keys: Iterable[ObjectKey]) -> SyncReports:
        """Delete objects. Raises BadInput; nothing has changed then. Raises what syncing raises."""
        keys = tuple(keys)
        with self._changing() as reports:
            self._cluster.delete(keys, _now())
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

    def replace(self, objects: Iterable[KubernetesObject]) -> SyncReports:
        """Make `objects` all there is besides the lab's own objects.

        Raises BadInput; nothing has changed then. Raises what syncing raises.
        """
        objects = tuple(objects)
        with self._changing() as reports:
            wanted = {*map(object_key, objects)}
            others = [key for key in self._written - wanted if self._cluster.object(key)]
            _say(self._cluster.replace(objects, others, _now()))
            self._written = wanted - self._own
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
            found = defaultdict(tuple[str, ...], self._cluster.warnings)
            for key, text in self._kubelet.problems.items():
                found[key] += (text,)
            running = self.pods.values()
            for service in self._cluster.objects(Service):
                if told := tuple(unserved(service, selected(service, running))):
                    found[object_key(service)] += told
            return dict(found)

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

    def _settle(self, reports: dict[str, list[SyncReport]]) -> None:
        """Reconcile until nothing changes. Pods start before the followers are told of them, and
        end after all followers were told.
        """
        while True:
            self._cluster.reconcile(_now())
            if self._kubelet.start():
                continue
            changed = self._cluster.take_changes()
            if changed:
                self._kubelet.open_ports(changed)
                for node, its_reports in self._tell(changed).items():
                    reports[node] += its_reports
                self._kubelet.close_ports(changed)
            elif not self._kubelet.terminate():
                break
        self._settled.notify_all()

    def _tell(self, changed: Update) -> SyncReports:
        update = Update(
            upserts=tuple(as_read(each) for each in changed.upserts if isinstance(each, _WATCHED)),
            deletes=tuple(key for key in changed.deletes if key[0] in _WATCHED_KINDS),
        )
        return self._followers.follow(update) if update else {}

    def _go_on(self) -> None:
        """Run the thread until it is closed. What failed is tried again when there is news, or when
        a caller was told of the failure.
        """
        while True:
            with self._settled:
                due = inf if self._failure else self._kubelet.due()
            wait_s = None if due == inf else min(max(due - time.monotonic(), 0), _LONGEST_PAUSE_S)
            try:
                news = [self._news.get(timeout=wait_s)]
            except Empty:
                news = []
            while not self._news.empty():
                news.append(self._news.get())
            if _CLOSE in news:
                return
            with self._settled:
                try:
                    for name in filter(None, news):
                        self._kubelet.look_at_probe(name)
                    self._settle(defaultdict(list))
                except BaseException as error:
                    self._failure = self._failure or error
                    self._settled.notify_all()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure:
            self._news.put(None)  # the thread goes on
            raise failure


def _say(warnings: Mapping[ObjectKey, tuple[str, ...]]) -> None:
    """Log the API server's warnings, which kubectl prints, too."""
    for (kind, _, name), texts in warnings.items():
        for text in texts:
            of_objects.warning("%s %s: %s", kind, name, text)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
