"""A pod of a control plane, to be asked and tampered with: what `Lab.pod` answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from subprocess import CompletedProcess
from typing import Protocol

from kproxy.address import Family
from kproxy.errors import BadInput
from kproxy.lab.hosts import LabPod
from kproxy.lab.pods.process import resolve, run_in_pod
from kproxy.lab.proxies import SyncReports


class RunsPods(Protocol):
    """What a handle needs of the control plane. Pods are named by host."""

    @property
    def pods(self) -> Mapping[str, LabPod]:
        """Those that run."""

    def is_ready(self, name: str) -> bool: ...

    def set_health(self, name: str, *, healthy: bool) -> SyncReports:
        """Let a pod pass or fail its readiness probe from now on."""

    def restart(self, name: str) -> SyncReports:
        """Replace a pod's sandbox by one with other addresses."""

    def resolv_conf(self, namespace: str) -> str:
        """Return the resolv.conf of the pods of a namespace."""


class PodHandle:
    """Of one Pod by name, also after it has restarted. What alters it returns when every node has
    its rules.
    """

    def __init__(self, plane: RunsPods, name: str) -> None:
        """`name`: of the host."""
        self.name = name
        self._plane = plane

    @property
    def host(self) -> LabPod:
        """As it runs now. Raises BadInput if it is gone."""
        pods = self._plane.pods
        if self.name not in pods:
            raise BadInput([f"pod {self.name} does not run any more"])
        return pods[self.name]

    @property
    def node(self) -> str:
        return self.host.node

    @property
    def addresses(self) -> Mapping[Family, str]:
        return self.host.addresses

    @property
    def ready(self) -> bool:
        return self._plane.is_ready(self.host.name)

    def fail_readiness(self) -> SyncReports:
        """Fail the readiness probe from now on; it is asked at once, as often as it takes.

        A pod without a probe is not ready from now on.
        """
        return self._plane.set_health(self.host.name, healthy=False)

    def pass_readiness(self) -> SyncReports:
        """Undo `fail_readiness`."""
        return self._plane.set_health(self.host.name, healthy=True)

    def restart(self) -> SyncReports:
        """End its sandbox as a crash would. It comes back with another address."""
        return self._plane.restart(self.host.name)

    def run(self, command: Sequence[str], *, timeout_s: float = 60) -> CompletedProcess[str]:
        """Run a program of this machine in the pod's network, with the pod's resolv.conf.

        What it wrote, and its exit status. Raises KernelRefused if it is not done in time.
        """
        pod = self.host
        conf = self._plane.resolv_conf(pod.spec.namespace)
        return run_in_pod(pod, command, resolv_conf=conf, timeout_s=timeout_s)

    def resolve(self, name: str, family: Family | None = None) -> list[str]:
        """What getaddrinfo of the C library finds in the pod; nothing if there is no such name."""
        pod = self.host
        conf = self._plane.resolv_conf(pod.spec.namespace)
        return resolve(pod, name, resolv_conf=conf, family=family)

    def __repr__(self) -> str:
        return f"<pod {self.name}>"
