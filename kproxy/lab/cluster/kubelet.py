"""The kubelets of a lab's nodes, in one: it runs the Pods that the control plane has scheduled, and
reports their status.

Nothing here waits: the caller calls again at `due`. A terminating Pod serves while its preStop hook
sleeps; then it accepts no new connections, finishes the open ones, and is removed, at the latest
after its grace period.
Source: pkg/kubelet/kuberuntime/kuberuntime_container.go (killContainer)
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from math import inf

from msgspec import Struct
from msgspec.structs import replace

from kproxy.api.types import Container, Pod, PodCondition, PodIP, PodStatus, Probe
from kproxy.controlplane import pod_events
from kproxy.controlplane.cluster import Cluster
from kproxy.dns.resolv import resolv_conf
from kproxy.errors import BadInput, KproxyError, NamespaceBusy, Unsupported
from kproxy.lab.cluster.dns import ClusterDns
from kproxy.lab.cluster.readiness import ReadinessProbes
from kproxy.lab.cluster.served_ports import asked_for, declared, is_dns_server, names_none
from kproxy.lab.hosts import LabNode, LabPod
from kproxy.lab.names import host_name
from kproxy.lab.pods.runtime import PodRuntime
from kproxy.lab.publishing import Publisher
from kproxy.lab.spec import PodSpec
from kproxy.store import ObjectKey, Update, object_key

_DRAIN_POLL_S = 0.02


class _Sandbox(Struct):
    """A running Pod. `ready` is its reported readiness, by its probe if it has one.

    `serves_until` and `killed_at` are set when it terminates, in seconds of the monotonic clock.
    """

    key: ObjectKey
    pod: LabPod
    probe: Probe | None
    ready: bool
    terminating: bool = False
    accepting: bool = True
    serves_until: float = inf
    killed_at: float = inf


class Kubelet:
    """The kubelets of all nodes. Not thread-safe: the control plane calls it under its lock."""

    def __init__(
        self,
        cluster: Cluster,
        runtime: PodRuntime,
        probes: ReadinessProbes,
        dns: ClusterDns,
        nodes: Mapping[str, LabNode],
        publisher: Publisher | None,
        nameservers: Sequence[str],
    ) -> None:
        """Take the parts of the lab; `nameservers` are those of the cluster's DNS, for the
        resolv.conf of published pods.
        """
        self._cluster = cluster
        self._runtime = runtime
        self._probes = probes
        self._dns = dns
        self._nodes = nodes
        self._publisher = publisher
        self._nameservers = tuple(nameservers)
        self._sandboxes: dict[str, _Sandbox] = {}
        self._refused: set[ObjectKey] = set()
        self._problems: dict[ObjectKey, str] = {}
        self._port_problems: dict[ObjectKey, str] = {}

    @property
    def problems(self) -> Mapping[ObjectKey, str]:
        """The problems of Pods that cannot run, do not run quite as written, or are not ready."""
        failing = {
            sandbox.key: f"readiness probe failed: {text}"
            for name, sandbox in self._sandboxes.items()
            if sandbox.probe and not sandbox.ready and (text := self._probes.problem(name))
        }
        return {**failing, **self._port_problems, **self._problems}

    @property
    def pods(self) -> dict[str, LabPod]:
        """The running pods by host name; usable by any thread, without the lock."""
        return {name: sandbox.pod for name, sandbox in self._sandboxes.copy().items()}

    @property
    def runtime(self) -> PodRuntime:
        return self._runtime

    def is_ready(self, name: str) -> bool:
        """Tell whether a pod is ready.

        Raises BadInput if no pod of that host name runs, as `set_health` and `restart` do.
        """
        return self._named(name).ready

    def start(self) -> bool:
        """Run the Pods that are scheduled; return False if there were none. Those without a probe,
        or whose probe succeeds at once, are ready then.

        A Pod that cannot run is left pending, and `problems` says why. Raises KernelRefused.
        """
        for key in [each for each in self._refused if self._cluster.object(each) is None]:
            self._refused.remove(key)
            self._problems.pop(key, None)
        held = {each.key for each in self._sandboxes.values()}  # by Pods that were replaced
        waiting = [
            pod
            for pod in self._cluster.pods_to_run()
            if object_key(pod) not in self._refused and object_key(pod) not in held
        ]
        if not waiting:
            return False
        run = self._run(waiting)
        started: list[_Sandbox] = []
        with ExitStack() as undo:
            for _, sandbox in run:
                undo.callback(self._end, [sandbox])
            for pod, sandbox in run:
                try:
                    self._set_ports(pod, sandbox, keep=False)
                    self._equip(pod, sandbox)
                    started.append(sandbox)
                except (BadInput, NamespaceBusy) as error:
                    self._end([sandbox])
                    self._refuse(sandbox.key, error)
            answers = self._probes.ask_now(each.pod.name for each in started if each.probe)
            undo.pop_all()
        for sandbox in started:
            sandbox.ready = answers.get(sandbox.pod.name, sandbox.probe is None)
            self._tell(sandbox)
            if running := self._pod(sandbox):
                self._cluster.tell(pod_events.started(running))
        return True

    def open_ports(self, changed: Update) -> None:
        """Let Pods that name no port serve what they are asked for since a change, before any node
        sends it to them.
        """
        self._adapt_ports(changed, keep=True)

    def close_ports(self, changed: Update) -> None:
        """Let them serve nothing else any more, after every node knows of the change."""
        self._adapt_ports(changed, keep=False)

    def terminate(self) -> bool:
        """Continue to terminate the Pods that are being deleted, which every node's rules reflect.

        Returns True if any was removed. Raises KernelRefused.
        """
        now = time.monotonic()
        ended = []
        for sandbox in list(self._sandboxes.values()):
            pod = self._pod(sandbox)
            if pod and pod.metadata.deletion_timestamp is None:
                continue
            if not sandbox.terminating:
                sandbox.terminating = True
                sandbox.serves_until = now + (_sleep_s(pod) if pod else 0)
                sandbox.killed_at = now + (self._cluster.grace_s(pod) if pod else 0)
            if not pod:
                sandbox.serves_until = sandbox.killed_at = now
            if now < min(sandbox.serves_until, sandbox.killed_at):
                continue
            name = sandbox.pod.name
            if sandbox.accepting:
                sandbox.accepting = False
                self._probes.forget(name)
                self._runtime.stop_accepting(name)
            if now >= sandbox.killed_at or not self._runtime.open_connections(name):
                ended.append(sandbox)
        there = [each.key for each in ended if self._pod(each)]
        try:
            self._remove(ended)
        finally:
            for key in there:
                self._cluster.pod_stopped(key)
        return bool(ended)

    def due(self) -> float:
        """Return when `terminate` has something to do, by the monotonic clock; inf for never."""
        now = time.monotonic()
        return min(
            (
                min(each.serves_until, each.killed_at)
                if each.accepting
                else min(now + _DRAIN_POLL_S, each.killed_at)
                for each in self._sandboxes.values()
                if each.terminating
            ),
            default=inf,
        )

    def look_at_probe(self, name: str) -> None:
        """Take over a pod's readiness from its probe; the pod may have been removed meanwhile."""
        sandbox = self._sandboxes.get(name)
        if sandbox and sandbox.probe:
            self._set_ready(sandbox, self._probes.ready(name))

    def set_health(self, names: Iterable[str], *, healthy: bool) -> None:
        """Let pods fail or pass their readiness probes from now on, and ask them at once.

        A pod without a probe takes the wanted readiness directly.
        """
        sandboxes = [self._named(name) for name in names]
        for sandbox in sandboxes:
            if sandbox.probe:
                self._runtime.set_health(sandbox.pod.name, sandbox.probe, healthy=healthy)
        answers = self._probes.ask_now(each.pod.name for each in sandboxes if each.probe)
        for sandbox in sandboxes:
            self._set_ready(sandbox, answers.get(sandbox.pod.name, healthy))

    def restart(self, name: str) -> None:
        """End a pod's sandbox as a crash would: the next `start` gives the Pod another, unless it
        terminates.
        """
        sandbox = self._named(name)
        try:
            self._remove([sandbox])
        finally:
            if sandbox.terminating:
                self._cluster.pod_stopped(sandbox.key)
            else:
                self._cluster.set_pod_status(sandbox.key, PodStatus(phase="Pending"))

    def _named(self, name: str) -> _Sandbox:
        if name not in self._sandboxes:
            raise BadInput([f"pod {name} does not run any more"])
        return self._sandboxes[name]

    def _equip(self, pod: Pod, sandbox: _Sandbox) -> None:
        """Publish a pod, and start its DNS server and its probe. Raises BadInput, NamespaceBusy."""
        if self._publisher and not pod.spec.host_network:
            conf = resolv_conf(self._nameservers, pod.metadata.namespace)
            self._publisher.add({sandbox.pod.name: sandbox.pod.namespace}, conf)
        if any(map(is_dns_server, pod.spec.containers)):
            self._dns.start(sandbox.pod)
        if sandbox.probe:
            self._probes.watch(sandbox.pod, self._nodes[sandbox.pod.node], sandbox.probe)

    def _adapt_ports(self, changed: Update, *, keep: bool) -> None:
        kinds = {object_key(each)[0] for each in changed.upserts}
        kinds |= {kind for kind, _, _ in changed.deletes}
        if kinds & {"Service", "Pod"}:
            for sandbox in self._sandboxes.values():
                pod = self._cluster.object(sandbox.key)
                if isinstance(pod, Pod):
                    self._set_ports(pod, sandbox, keep=keep)

    def _set_ports(self, pod: Pod, sandbox: _Sandbox, *, keep: bool) -> None:
        """Let a Pod that names no port serve what it is asked for; with `keep` also what it serves.

        A port that cannot be served here is left out, and `problems` says why.
        """
        if not names_none(pod) or not sandbox.accepting:
            return
        former = sandbox.pod.spec.ports
        wanted = asked_for(pod, self._cluster.services_of(pod))
        wanted = tuple(dict.fromkeys([*former, *wanted])) if keep else wanted
        self._port_problems.pop(sandbox.key, None)
        for ports in (wanted, tuple(port for port in wanted if port.protocol != "SCTP")):
            try:
                if ports != sandbox.pod.spec.ports:
                    sandbox.pod = self._runtime.set_ports(sandbox.pod.name, ports)
                return
            except Unsupported as error:
                self._port_problems[sandbox.key] = str(error)
            except BadInput as error:
                self._port_problems[sandbox.key] = str(error)
                return

    def _run(self, pods: list[Pod]) -> list[tuple[Pod, _Sandbox]]:
        """Run all pods at once; if that fails, one by one, to find the one that fails."""
        try:
            running = self._runtime.start([(_pod_spec(pod), pod.spec.node_name) for pod in pods])
        except (BadInput, Unsupported) as error:
            if len(pods) > 1:
                return [each for pod in pods for each in self._run([pod])]
            return self._run_without_sctp(pods[0], error)
        return [(pod, self._sandbox(pod, host)) for pod, host in zip(pods, running, strict=True)]

    def _run_without_sctp(
        self, pod: Pod, error: BadInput | Unsupported
    ) -> list[tuple[Pod, _Sandbox]]:
        """Run a pod without its SCTP ports: a container's ports are only informative."""
        containers = tuple(map(_without_sctp, pod.spec.containers))
        if isinstance(error, BadInput) or containers == pod.spec.containers:
            self._refuse(object_key(pod), error)
            return []
        self._problems[object_key(pod)] = str(error)
        return self._run([replace(pod, spec=replace(pod.spec, containers=containers))])

    def _refuse(self, key: ObjectKey, error: KproxyError) -> None:
        """Leave a Pod pending until it, or another one, is removed."""
        self._refused.add(key)
        self._problems[key] = str(error)
        self._cluster.tell(pod_events.not_started(key, str(error)))

    def _sandbox(self, pod: Pod, host: LabPod) -> _Sandbox:
        key = object_key(pod)
        probed = [each for each in pod.spec.containers if each.readiness_probe]
        if len(probed) > 1:
            self._problems[key] = f"only the readiness probe of {probed[0].name} is asked"
        probe = probed[0].readiness_probe if probed else None
        sandbox = _Sandbox(key=key, pod=host, probe=probe, ready=False)
        self._sandboxes[host.name] = sandbox
        return sandbox

    def _remove(self, sandboxes: Sequence[_Sandbox]) -> None:
        """End sandboxes, and let refused Pods be tried again: there may be room for them now."""
        if sandboxes:
            for key in self._refused:
                self._problems.pop(key, None)
            self._refused.clear()
            self._end(sandboxes)

    def _end(self, sandboxes: Iterable[_Sandbox]) -> None:
        """Remove all parts of sandboxes, whichever step fails. Harmless when repeated."""
        with ExitStack() as steps:  # the last one first
            there = {each.pod.name: each for each in sandboxes if each.pod.name in self._sandboxes}
            steps.callback(self._runtime.stop, *there)
            for name, sandbox in there.items():
                if self._publisher:
                    steps.callback(self._publisher.remove, name)
                steps.callback(self._dns.stop, name)
                steps.callback(self._probes.forget, name)
                del self._sandboxes[name]
                self._problems.pop(sandbox.key, None)
                self._port_problems.pop(sandbox.key, None)

    def _set_ready(self, sandbox: _Sandbox, ready: bool) -> None:
        if sandbox.ready != ready and self._pod(sandbox):
            sandbox.ready = ready
            self._tell(sandbox)
            if not ready and (pod := self._pod(sandbox)):
                why = self._probes.problem(sandbox.pod.name) or "not ready"
                self._cluster.tell(pod_events.unhealthy(pod, why))

    def _pod(self, sandbox: _Sandbox) -> Pod | None:
        """Return the Pod that runs in a sandbox; None if it was deleted at once, also if another
        Pod has its name by now: that has no address yet.
        """
        found = self._cluster.object(sandbox.key)
        return found if isinstance(found, Pod) and found.status.pod_ip else None

    def _tell(self, sandbox: _Sandbox) -> None:
        ips = tuple(sandbox.pod.addresses.values())
        self._cluster.set_pod_status(
            sandbox.key,
            PodStatus(
                phase="Running",
                pod_ip=ips[0],
                pod_ips=tuple(PodIP(ip=ip) for ip in ips),
                conditions=(PodCondition(type="Ready", status=str(sandbox.ready)),),
            ),
        )


def _pod_spec(pod: Pod) -> PodSpec:
    return PodSpec(
        name=host_name(pod.metadata.name, pod.metadata.namespace),
        labels=pod.metadata.labels,
        ports=declared(pod),
        namespace=pod.metadata.namespace,
        host_network=pod.spec.host_network,
    )


def _without_sctp(container: Container) -> Container:
    ports = tuple(port for port in container.ports if port.protocol != "SCTP")
    return replace(container, ports=ports)


def _sleep_s(pod: Pod) -> int:
    """Return the seconds of the longest preStop hook: containers' hooks run in parallel."""
    hooks = (each.lifecycle.pre_stop for each in pod.spec.containers if each.lifecycle)
    return max((hook.sleep.seconds for hook in hooks if hook and hook.sleep), default=0)
