"""An API's access to the pods of a lab: commands, logs, connections to their ports.

It has the methods of `kproxy.apiserver.http.access.PodAccess`. A pod is named by its object.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence

from kproxy.address import socket_family
from kproxy.controlplane.plane import Json
from kproxy.errors import BadInput
from kproxy.lab.hosts import LabPod
from kproxy.lab.names import host_name
from kproxy.lab.pods.commands import Command, Surroundings
from kproxy.lab.pods.environment import PATH, Documents, environment
from kproxy.lab.pods.log import Listener, LogLine
from kproxy.lab.pods.process import hostname, hosts_file, name_service_switch
from kproxy.lab.pods.runtime import PodRuntime
from kproxy.store import ObjectKey

_SERVICE_ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"  # /var/run is a link to /run
_CONNECT_S = 10
_LOOPBACK = ("127.0.0.1", "::1")

ServiceAccount = Callable[[Json], Mapping[str, str]]


class LabPods:
    """Access to the pods that a lab's control plane runs. Any thread may use it; methods may wait
    for the kernel, so call them in a thread of their own.
    """

    def __init__(
        self,
        runtime: PodRuntime,
        pods: Callable[[], Mapping[str, LabPod]],
        settle: Callable[[], None],
        documents: Documents,
        resolv_conf: Callable[[str], str],
        *,
        api_server: tuple[str, int] | None = None,
        service_account: ServiceAccount = lambda _: {},
    ) -> None:
        """Take what runs the pods, the running ones by host name, what waits until all nodes
        have the rules of what is written so far, the objects' documents, and the resolv.conf of a
        namespace.

        `api_server`: address and port by which pods reach the API. `service_account`: file name ->
        text of a Pod's service account: token, ca.crt, namespace.
        """
        self._runtime = runtime
        self._pods = pods
        self._settle = settle
        self._documents = documents
        self._resolv_conf = resolv_conf
        self._api_server = api_server
        self._service_account = service_account

    def document(self, pod: ObjectKey) -> Json | None:
        """Return a Pod as it is stored; None if there is none."""
        return self._documents(pod)

    def start(
        self,
        pod: ObjectKey,
        container: str,
        argv: Sequence[str],
        *,
        stdin: bool,
        stderr: bool,
        tty: bool,
    ) -> Command:
        """Start a command in a pod, with the environment of a container, when all that was written
        before is in effect: what it connects to is what its caller has just made.

        Raises BadInput if the pod does not run, or there is no such command; Unsupported,
        KernelRefused.
        """
        self._settle()
        document, host = self._document(pod), self._host(pod)
        spec: Json = next(
            (each for each in document["spec"]["containers"] if each["name"] == container), {}
        )
        given = {"PATH": PATH, "HOME": "/root", "HOSTNAME": hostname(host)}
        if tty:
            given["TERM"] = "xterm"
        if self._api_server:
            address, port = self._api_server
            given |= {"KUBERNETES_SERVICE_HOST": address, "KUBERNETES_SERVICE_PORT": str(port)}
        variables = environment(document, spec, given, self._documents)
        commands = self._runtime.commands.of(
            host.name, host.namespace, lambda: self._surroundings(document, host)
        )
        folder = spec.get("workingDir") or "/"
        return commands.start(
            argv, env=variables, folder=folder, stdin=stdin, stderr=stderr, tty=tty
        )

    def connect(self, pod: ObjectKey, port: int) -> socket.socket:
        """Return a connection, made in the pod's network, to what listens there on a TCP port: on
        its loopback addresses, or on its own. Raises OSError, BadInput if the pod does not run.
        """
        host = self._host(pod)
        refused: OSError | None = None
        for address in (*_LOOPBACK, *host.addresses.values()):
            try:
                with host.namespace.entered():
                    sock = socket.socket(socket_family(address))
            except (OSError, ValueError):
                raise BadInput([f"pod {pod[2]} does not run any more"]) from None
            try:
                sock.settimeout(_CONNECT_S)
                sock.connect((address, port))
                sock.setblocking(False)
                return sock
            except OSError as error:
                sock.close()
                refused = refused or error
        raise refused or OSError(f"pod {pod[2]} has no address")

    def log(self, pod: ObjectKey) -> list[LogLine]:
        """Return the last lines of a pod's log, the oldest first; none if it does not run."""
        return self._runtime.server.log(host_name(pod[2], pod[1]))

    def follow_log(self, pod: ObjectKey, listener: Listener) -> list[LogLine]:
        """Return the last lines, and call `listener` with each later one, in another thread, until
        `leave_log`; with None when the pod ends, at once if it does not run. It must not wait.
        """
        return self._runtime.server.follow_log(host_name(pod[2], pod[1]), listener)

    def leave_log(self, pod: ObjectKey, listener: Listener) -> None:
        """Undo `follow_log`. Harmless if the pod has ended."""
        self._runtime.server.leave_log(host_name(pod[2], pod[1]), listener)

    def _document(self, pod: ObjectKey) -> Json:
        document = self._documents(pod)
        if document is None:
            raise BadInput([f'pods "{pod[2]}" not found'])
        return document

    def _host(self, pod: ObjectKey) -> LabPod:
        host = self._pods().get(host_name(pod[2], pod[1]))
        if host is None:
            raise BadInput([f"pod {pod[2]} does not run"])
        return host

    def _surroundings(self, document: Json, host: LabPod) -> Surroundings:
        files = {
            "/etc/hosts": hosts_file(host),
            "/etc/hostname": f"{hostname(host)}\n",
            "/etc/resolv.conf": self._resolv_conf(host.spec.namespace),
            **name_service_switch(),
        }
        for name, text in self._service_account(document).items():
            files[f"{_SERVICE_ACCOUNT}/{name}"] = text
        return Surroundings(hostname(host), files)
