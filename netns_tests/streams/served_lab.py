"""A lab whose pods an API server on loopback knows, and kubectl for it.

    node-a: web (80/TCP, 53/UDP)    node-b: two (80/TCP, two containers)

Each document is what such a Pod's would be; nothing but the streams is tested here.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess

import yaml

from kproxy.api.types import Pod
from kproxy.apiserver.http.pod_streams import PodStreams
from kproxy.apiserver.http.server import HttpsServer, tls_context
from kproxy.apiserver.request import User
from kproxy.controlplane.plane import Json
from kproxy.lab import Lab, LabSpec, NodeSpec, PodSpec, PortSpec
from tests.apiserver.memory_plane import MemoryPlane
from tests.kubernetes.certificates import Authority

KUBECTL = Path(sysconfig.get_path("scripts"), "kubectl")
TOKEN = "sesame"
TIMEOUT_S = 60
HTTP = PortSpec(port=80)
SPEC = LabSpec(
    nodes=(
        NodeSpec(
            name="node-a",
            pods=(PodSpec(name="web", ports=(HTTP, PortSpec(port=53, protocol="UDP"))),),
        ),
        NodeSpec(name="node-b", pods=(PodSpec(name="two", ports=(HTTP,)),)),
    ),
    control_plane=True,
)
ACCOUNT = {"token": "eyJ.of.web", "namespace": "default", "ca.crt": "-----BEGIN"}
# kubectl falls back to SPDY if a server knows no WebSockets; this has it begin so.
SPDY = {
    "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false",
    "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false",
}


class ServedLab:
    """The lab, its documents, and kubectl with the `transport` variables in its environment."""

    def __init__(self, lab: Lab, plane: MemoryPlane, kubeconfig: Path, port: int) -> None:
        self.lab = lab
        self.plane = plane
        self.port = port
        self._kubeconfig = kubeconfig

    def environment(self, transport: Mapping[str, str]) -> dict[str, str]:
        return {**os.environ, **transport, "KUBECONFIG": str(self._kubeconfig), "TERM": "vt100"}

    def kubectl(
        self, *arguments: str, transport: Mapping[str, str], stdin: bytes = b""
    ) -> CompletedProcess[bytes]:
        return subprocess.run(
            [KUBECTL, *arguments],
            input=stdin,
            capture_output=True,
            env=self.environment(transport),
            timeout=TIMEOUT_S,
            check=False,
        )

    @contextmanager
    def started(
        self, *arguments: str, transport: Mapping[str, str]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run kubectl with pipes for the duration of a block."""
        with subprocess.Popen(
            [KUBECTL, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment(transport),
        ) as process:
            try:
                yield process
            finally:
                process.kill()


@contextmanager
def served(folder: Path, spec: LabSpec = SPEC) -> Iterator[ServedLab]:
    """Serve a lab for the duration of a block."""
    authority = Authority(folder)
    pair = authority.issue("server")
    with Lab(spec, None) as lab, socket.create_server(("127.0.0.1", 0)) as sock:
        plane = MemoryPlane(tuple(map(document, lab.objects(Pod))))
        access = lab.pod_access(
            plane.get, api_server=("10.96.0.1", 443), service_account=lambda _: ACCOUNT
        )
        port = sock.getsockname()[1]
        with HttpsServer(
            plane,
            tokens={TOKEN: User("admin")},
            tls=tls_context(pair.certificate, pair.key),
            streams=PodStreams(access, plane),
        ) as server:
            server.start([sock])
            kubeconfig = folder / "kubeconfig"
            kubeconfig.write_text(yaml.safe_dump(_kubeconfig(port, authority.certificate)))
            yield ServedLab(lab, plane, kubeconfig, port)


def document(pod: Pod) -> Json:
    """Return a Pod as the API has it."""
    name = pod.metadata.name
    containers = ("one", "two") if name == "two" else ("answer",)
    env = [
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "GREETING", "value": "hello $(NODE)"},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": pod.metadata.namespace},
        "spec": {
            "nodeName": pod.spec.node_name,
            "containers": [{"name": each, "env": env} for each in containers],
        },
        "status": {"phase": "Running", "podIP": pod.status.pod_ip},
    }


def _kubeconfig(port: int, authority: Path) -> Json:
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(authority)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
        "current-context": "lab",
    }
