"""Labs for tests: built in one call, asked in one call, removed with the fixture."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pytest

from kproxy.address import Family, family_of
from kproxy.api.types import KubernetesObject
from kproxy.backend import DEFAULT_MODE, BackendOptions, rules_of
from kproxy.config import ProxyConfig
from kproxy.errors import BadInput, Unsupported
from kproxy.forwarding.network import Packet
from kproxy.forwarding.oracle import predict
from kproxy.lab import ClientSpec, Lab, LabSpec, NodeSpec, PodSpec, PortSpec, load_spec
from kproxy.outcome import Connection, Observation
from kproxy.probe import Prober, connect_many, prediction_for
from kproxy.probe.entrance import checked
from kproxy.testing.expectations import Answer
from kproxy.versions import Version, parse_version

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

    from kproxy.explain.itinerary import Itinerary
    from kproxy.testing.journal import Journal
    from kproxy.testing.registration import Registration

Manifest = str | Path | KubernetesObject

WEB_PORTS = (PortSpec(port=8080), PortSpec(port=8080, protocol="UDP"))


class ProbedLab(Lab):
    """A Lab that answers questions: by a packet, by a real connection, by the oracle.

    Its answers are compared with `delivered`, `refused` or `dropped`. With a control plane it also
    serves the Kubernetes API: `kubeconfig`, `client`.
    """

    _registration: Registration | None = None
    _registering = threading.Lock()
    journal: Journal | None = None
    """What has become of its objects; None if nobody follows them."""

    def ask(
        self, client: str, address: str, port: int, protocol: str = "TCP", source: str = ""
    ) -> Answer:
        """Send one packet from the host `client` and return its outcome."""
        return self.ask_many([_packet(client, address, port, protocol, source)])[0]

    def connect(
        self, client: str, address: str, port: int, protocol: str = "TCP", source: str = ""
    ) -> Answer:
        """Make a kernel connection from the host `client`, exchange a line, close it."""
        return self.connect_many([_packet(client, address, port, protocol, source)])[0]

    def predict(
        self, client: str, address: str, port: int, protocol: str = "TCP", source: str = ""
    ) -> Answer:
        """Return the oracle's prediction for the packet, with the present rules.

        Raises BadInput in a network that it does not know (any but `routed`), NoOracle if the mode
        has none.
        """
        self._bring_into_effect()
        rules = rules_of(self.mode)
        packet = _packet(client, address, port, protocol, source)
        (packet,) = checked(self.network, self.hosts, [packet])
        found = predict(self.network, self.plans(family_of(address)), packet, rules)
        return Answer(packet=packet, found=found, prediction=found, network=self.network)

    def ask_many(self, packets: Sequence[Packet]) -> list[Answer]:
        """Do the same as `ask`, all at once, so that dropped packets cost their timeout once."""
        self._bring_into_effect()
        packets = checked(self.network, self.hosts, packets)
        return self._answers(packets, self.prober.ask_many(packets))

    def connect_many(self, packets: Sequence[Packet]) -> list[Answer]:
        """Do the same as `connect`, all at once."""
        self._bring_into_effect()
        packets = checked(self.network, self.hosts, packets)
        return self._answers(packets, connect_many(self, packets))

    def trace(
        self,
        source: str,
        target: str,
        *,
        port: int | str | None = None,
        protocol: str | None = None,
        family: Family | None = None,
        http: str | None = None,
    ) -> Itinerary:
        """Send one packet from the host `source` and return its way, hop by hop, there and back.

        `target` is an address, a Service (`web`, `svc/web`, `web.prod`) or a host; `port` may be
        left out if there is only one, or follow it (`web:http`). `http`: HOST/PATH of the request
        that an ingress on the way gets. See `kproxy.explain.trace`.
        """
        from kproxy.explain import trace

        self._bring_into_effect()
        return trace(self, source, target, port=port, protocol=protocol, family=family, http=http)

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig for kubectl and client libraries on this machine.

        Only its owner may read the file: it holds a token. It is removed with the lab. The API is
        served from the first use on, on loopback. Raises BadInput without a control plane,
        Unsupported if there is no openssl.
        """
        return self._with_api().kubeconfig

    def client(self) -> ApiClient:
        """Return a new client of the official library, for `CoreV1Api(lab.client())` and the like.

        Raises the same as `kubeconfig`.
        """
        from kubernetes.client import ApiClient, Configuration

        found = self._with_api()
        configuration = Configuration(host=found.url)
        configuration.ssl_ca_cert = str(found.authority)
        configuration.api_key = {"authorization": f"Bearer {found.token}"}
        client = ApiClient(configuration)
        self._undo.callback(client.close)
        return client

    def register(self) -> Registration:
        """Let `kproxy ls`, `status` and `shell` find the lab, and serve its API if it has one.

        Raises Unsupported if there can be no place for it.
        """
        from kproxy.testing.registration import Registration

        with self._registering:
            if self._registration is None:
                found = Registration(self)
                with ExitStack() as undo:
                    undo.callback(found.place.remove)
                    self._registration = undo.enter_context(found)
                    undo.pop_all()
            return self._registration

    def _bring_into_effect(self) -> None:
        """Wait for what may have been written through the API."""
        if self._registration:
            self.settle()

    def _with_api(self) -> Registration:
        if not self.spec.control_plane:
            raise BadInput(
                ["this lab has no control plane, and so no API"],
                remedy="kproxy_lab(control_plane=True, ...)",
            )
        if not self.hosts:
            raise BadInput(["this lab is not up"])
        return self.register()

    def _answers(
        self, packets: Sequence[Packet], found: Sequence[Observation | Connection]
    ) -> list[Answer]:
        network = self.network
        return [
            Answer(
                packet=packet,
                found=each,
                prediction=prediction_for(self, packet),
                network=network,
            )
            for packet, each in zip(packets, found, strict=True)
        ]

    def __enter__(self) -> Self:
        super().__enter__()
        self.prober = Prober(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        registration, self._registration = self._registration, None
        with ExitStack() as undo:
            if registration:
                undo.callback(registration.place.remove)
            undo.callback(super().__exit__, kind, error, trace)
            undo.callback(self.prober.close)
            if registration:
                undo.callback(registration.close)


class LabFactory:
    """Builds labs and removes them together; the value of the fixtures."""

    def __init__(self) -> None:
        self._labs: list[ProbedLab] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as undo:
            while self._labs:
                undo.push(self._labs.pop(0))

    @property
    def labs(self) -> Sequence[ProbedLab]:
        """The labs that are up and that the factory will remove."""
        return tuple(self._labs)

    def release(self, lab: ProbedLab) -> None:
        """Leave a lab to the caller, who ends it."""
        self._labs.remove(lab)

    def __call__(
        self,
        spec: LabSpec | str | Path | None = None,
        *,
        nodes: Iterable[str] = ("node-a",),
        pods: Mapping[str, str] | None = None,
        clients: Iterable[str] = ("outside",),
        ports: Iterable[PortSpec] = WEB_PORTS,
        routes: Mapping[str, str] | None = None,
        families: Iterable[Family] = Family,
        control_plane: bool = False,
        emulate: Version | str | None = None,
        mode: str | None = DEFAULT_MODE,
        manifests: Iterable[Manifest] = (),
        config: ProxyConfig | None = None,
        options: BackendOptions | None = None,
    ) -> ProbedLab:
        """Return a running lab with the manifests applied.

        `spec` is a whole lab, or the file of one. Without it: `nodes` and `clients` by name,
        `pods` (name -> node; labelled `app: <name>`), all serving `ports`, by default 8080 on TCP
        and UDP; `routes` and `control_plane` as in LabSpec. `manifests`: files, folders or objects.
        `emulate`: the kube-proxy to behave like, such as "1.36". `mode` None: no proxies, only the
        network.
        If the machine lacks something, the test fails (it is not skipped) with the remedy.
        """
        if spec is None:
            spec = _spec(nodes, pods or {}, clients, tuple(ports), routes or {}, families)
            spec = replace(spec, control_plane=control_plane)
        if emulate:
            version = emulate if isinstance(emulate, Version) else parse_version(emulate)
            whole = spec if isinstance(spec, LabSpec) else load_spec(spec)
            spec = replace(whole, emulate=version)
        try:
            lab = ProbedLab(spec, mode, config=config, options=options).__enter__()
        except Unsupported as error:
            message = f"no lab can run here: {error}\n  try: {error.remedy}"
            raise pytest.fail.Exception(message, pytrace=False) from None
        self._labs.append(lab)
        if lab.spec.control_plane or mode is not None:
            from kproxy.testing.journal import Journal

            lab.journal = Journal(lab)
        for manifest in manifests:
            lab.apply(manifest if isinstance(manifest, str | Path) else [manifest])
        return lab


def _spec(
    nodes: Iterable[str],
    pods: Mapping[str, str],
    clients: Iterable[str],
    ports: tuple[PortSpec, ...],
    routes: Mapping[str, str],
    families: Iterable[Family],
) -> LabSpec:
    nodes = tuple(nodes)
    if strays := [
        f"pod {pod}: no node {node!r}" for pod, node in pods.items() if node not in nodes
    ]:
        raise BadInput(strays)

    def pods_on(node: str) -> tuple[PodSpec, ...]:
        return tuple(
            PodSpec(name=pod, labels={"app": pod}, ports=ports)
            for pod, where in pods.items()
            if where == node
        )

    return LabSpec(
        nodes=tuple(NodeSpec(name=node, pods=pods_on(node)) for node in nodes),
        clients=tuple(ClientSpec(name=client) for client in clients),
        routes=routes,
        families=tuple(families),
    )


def _packet(client: str, address: str, port: int, protocol: str, source: str) -> Packet:
    return Packet(client=client, address=address, port=port, protocol=protocol, source=source)
