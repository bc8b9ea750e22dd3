"""Labs for tests: built in one call, asked in one call, removed with the fixture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

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

Manifest = str | Path | KubernetesObject

WEB_PORTS = (PortSpec(port=8080), PortSpec(port=8080, protocol="UDP"))


class ProbedLab(Lab):
    """A Lab that answers questions: by a packet, by a real connection, by the oracle.

    Its answers are compared with `delivered`, `refused` or `dropped`.
    """

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
        rules = rules_of(self.mode)
        packet = _packet(client, address, port, protocol, source)
        (packet,) = checked(self.network, self.hosts, [packet])
        found = predict(self.network, self.plans(family_of(address)), packet, rules)
        return Answer(packet=packet, found=found, prediction=found, network=self.network)

    def ask_many(self, packets: Sequence[Packet]) -> list[Answer]:
        """Do the same as `ask`, all at once, so that dropped packets cost their timeout once."""
        packets = checked(self.network, self.hosts, packets)
        return self._answers(packets, self.prober.ask_many(packets))

    def connect_many(self, packets: Sequence[Packet]) -> list[Answer]:
        """Do the same as `connect`, all at once."""
        packets = checked(self.network, self.hosts, packets)
        return self._answers(packets, connect_many(self, packets))

    def _answers(
        self, packets: Sequence[Packet], found: Sequence[Observation | Connection]
    ) -> list[Answer]:
        network = self.network
        return [
            Answer(
                packet=packet,
                found=each,
                prediction=prediction_for(self, packet) if network.routed else None,
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
        self.prober.close()
        super().__exit__(kind, error, trace)


class LabFactory:
    """Builds labs and removes them together; the value of the fixtures."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

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
            lab = self._stack.enter_context(ProbedLab(spec, mode, config=config, options=options))
        except Unsupported as error:
            message = f"no lab can run here: {error}\n  try: {error.remedy}"
            raise pytest.fail.Exception(message, pytrace=False) from None
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
