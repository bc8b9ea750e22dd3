r"""Any service proxy in a lab of this process: an API server, and a command on every node.

    Lab verbs -> objects -> API -> the commands -> kernels
                              \-> a beacon: a Service whose port is another one after each change

The commands have a change in force when the beacon, which was written after it, answers at its new
port on every node.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from ipaddress import ip_network
from itertools import count

from kproxy.address import Family
from kproxy.controlplane.plane import Json, Plane
from kproxy.errors import TimedOut
from kproxy.lab import Lab, LabNode
from kproxy.lab.layout import by_family
from kproxy.lab.names import ROUTER
from kproxy.resident.access import PORT_INSIDE
from kproxy.resident.api import LabApi
from kproxy.resident.commands import NodeCommands, write_configs
from kproxy.resident.document_plane import DocumentPlane
from kproxy.resident.records import INSIDE, MARK
from kproxy.resident.runs import claim_for_run
from kproxy.store import SERVICE_NAME_LABEL, ObjectKey, Update, object_key

_BEACON = "kproxy-beacon"
_NAMESPACE = "kube-system"
_FIRST_PORT = 20_000
_IN_FORCE_S = 60.0
_CONNECT_S = 0.5
_AGAIN_S = 0.02


class ProxyCommand:
    """The other proxies of a lab (`kproxy.lab.other_proxies`): one command line, on every node."""

    def __init__(self, words: Iterable[str]) -> None:
        """Take the words, in which `{kubeconfig}`, `{config}` and `{node}` stand for those."""
        self._words = tuple(words)

    def start(self, lab: Lab, undo: ExitStack) -> Callable[[Update], None]:
        """Serve an API, start the command on every node, and wait until the beacon answers.

        To be called by the main thread. Raises TimedOut, KproxyError if a command ends, and what
        `LabApi` raises.
        """
        mark = secrets.token_hex(16)
        place = claim_for_run(lab, mark, undo)
        documents = None if lab.spec.control_plane else DocumentPlane(lab.own_objects())
        plane = documents or lab.plane
        undo.callback(LabApi(lab, plane, place.path, 0).close)
        beacon = _Beacon(lab, plane)
        kubeconfig = place.path / INSIDE
        configs = {each: lab.node_config(each) for each in lab.nodes}
        write_configs(place.path, configs, kubeconfig)
        commands = NodeCommands(
            self._words,
            lab.nodes.values(),
            place=place.path,
            kubeconfig=kubeconfig,
            environment={**os.environ, MARK: mark, "KUBECONFIG": str(kubeconfig)},
        )
        undo.callback(commands.close)

        def follow(update: Update) -> None:
            keys = {*map(object_key, update.upserts), *update.deletes}
            if keys <= beacon.keys:
                return
            if documents:
                documents.follow_update(update)
            beacon.await_answer(commands.check)

        beacon.await_answer(commands.check)
        return follow


class _Beacon:
    """A Service without a selector that leads to the API itself."""

    def __init__(self, lab: Lab, plane: Plane) -> None:
        self._nodes: Mapping[str, LabNode] = lab.nodes
        self._plane = plane
        self._ports = count(_FIRST_PORT)
        cidrs = by_family(lab.spec.families, lab.spec.service_cidrs)
        self._addresses = {family: str(ip_network(cidr)[-2]) for family, cidr in cidrs.items()}
        self._api = lab.hosts[ROUTER].addresses
        self.keys: frozenset[ObjectKey] = frozenset(
            {("Service", _NAMESPACE, _BEACON)}
            | {("EndpointSlice", _NAMESPACE, _slice_name(each)) for each in self._addresses}
        )

    def await_answer(self, check: Callable[[], None]) -> None:
        """Give the beacon another port, and return when every node reaches it there.

        `check` is called while it waits, and may raise. Raises TimedOut.
        """
        port = next(self._ports)
        for document in (*self._slices(port), self._service(port)):
            metadata = document["metadata"]
            there = self._plane.get((document["kind"], _NAMESPACE, metadata["name"]))
            (self._plane.update if there else self._plane.create)(document)
        deadline = time.monotonic() + _IN_FORCE_S
        for node in self._nodes.values():
            for address in self._addresses.values():
                while not _answers(node, address, port):
                    check()
                    if time.monotonic() >= deadline:
                        raise TimedOut(
                            f"{node.name}: the command has not brought a change into force within "
                            f"{_IN_FORCE_S:g} s"
                        )
                    time.sleep(_AGAIN_S)

    def _service(self, port: int) -> Json:
        addresses = [*self._addresses.values()]
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": _BEACON, "namespace": _NAMESPACE},
            "spec": {
                "type": "ClusterIP",
                "clusterIP": addresses[0],
                "clusterIPs": addresses,
                "ipFamilies": [each.value for each in self._addresses],
                "ipFamilyPolicy": "RequireDualStack" if len(addresses) > 1 else "SingleStack",
                "ports": [_port(port) | {"port": port, "targetPort": PORT_INSIDE}],
            },
        }

    def _slices(self, port: int) -> list[Json]:
        return [
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {
                    "name": _slice_name(family),
                    "namespace": _NAMESPACE,
                    "labels": {SERVICE_NAME_LABEL: _BEACON},
                },
                "addressType": family.value,
                "endpoints": [{"addresses": [self._api[family]], "conditions": {"ready": True}}],
                "ports": [_port(port) | {"port": PORT_INSIDE}],
            }
            for family in self._addresses
        ]


def _port(port: int) -> Json:
    # The name joins a Service's port and a slice's: the former slice does not serve the new port.
    return {"name": f"change-{port}", "protocol": "TCP"}


def _slice_name(family: Family) -> str:
    return f"{_BEACON}-{family.value.lower()}"


def _answers(node: LabNode, address: str, port: int) -> bool:
    with node.namespace.entered():
        try:
            socket.create_connection((address, port), _CONNECT_S).close()
        except OSError:
            return False
    return True
