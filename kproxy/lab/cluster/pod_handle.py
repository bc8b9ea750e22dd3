"""A handle of a control plane's pod, to query and to disturb it: the result of `Lab.pod`."""

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
    """The methods of a control plane that a handle needs. Pods are named by host."""

    @property
    def pods(self) -> Mapping[str, LabPod]:
        """The running pods."""

    def is_ready(self, name: str) -> bool: ...

    def set_health(self, name: str, *, healthy: bool) -> SyncReports:
        """Let a pod pass or fail its readiness probe from now on."""

    def restart(self, name: str) -> SyncReports:
        """Replace a pod's sandbox by one with other addresses."""

    def resolv_conf(self, namespace: str) -> str:
        """Return the resolv.conf of the pods of a namespace."""


class PodHandle:
    """A handle of one Pod by name, also after it has restarted. Methods that change the Pod return
    when every node has its rules.
    """

    def __init__(self, plane: RunsPods, name: str) -> None:
        """Take the control plane and the pod's host name."""
        self.name = name
        self._plane = plane

    @property
    def host(self) -> LabPod:
        """The host of the pod as it runs now. Raises BadInput if it does not run any more."""
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

    @property
    def resolv_conf(self) -> str:
        """The text of its /etc/resolv.conf."""
        return self._plane.resolv_conf(self.host.spec.namespace)

    def fail_readiness(self) -> SyncReports:
        """Fail the readiness probe from now on; it runs at once, until the outcome is decided.

        A pod without a probe is not ready from now on.
        """
        return self._plane.set_health(self.host.name, healthy=False)

    def pass_readiness(self) -> SyncReports:
        """Undo `fail_readiness`."""
        return self._plane.set_health(self.host.name, healthy=True)

    def restart(self) -> SyncReports:
        """End the pod's sandbox as a crash would. The new one has another address."""
        return self._plane.restart(self.host.name)

    def run(self, command: Sequence[str], *, timeout_s: float = 60) -> CompletedProcess[str]:
        """Run a program of this machine in the pod's network, with the pod's resolv.conf.

        Returns its output and its exit status. Raises KernelRefused if it does not end in time.
        """
        pod = self.host
        conf = self._plane.resolv_conf(pod.spec.namespace)
        return run_in_pod(pod, command, resolv_conf=conf, timeout_s=timeout_s)

    def resolve(self, name: str, family: Family | None = None) -> list[str]:
        """Return what the C library's getaddrinfo finds in the pod; [] if the name is unknown."""
        pod = self.host
        conf = self._plane.resolv_conf(pod.spec.namespace)
        return resolve(pod, name, resolv_conf=conf, family=family)

    def __repr__(self) -> str:
        return f"<pod {self.name}>"
