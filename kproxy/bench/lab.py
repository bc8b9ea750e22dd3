"""Times of a lab without a proxy: `python -m kproxy.bench.lab SIZE` prints a result as JSON.

- build: from the description until its block begins: namespaces, cables, addresses, routes, servers
- serve: until each pod has answered a connection that it made to itself
- down: from the end of the block until the kernel has taken down all its namespaces
- floor: what the namespaces and one cable for each host take the kernel, with nothing else
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

from kproxy.address import Family
from kproxy.bench.results import LabResult, LabSize
from kproxy.errors import KernelRefused
from kproxy.kernel.links import Links
from kproxy.kernel.measurement import answer
from kproxy.kernel.netns import Namespace
from kproxy.kernel.running import on_uml
from kproxy.lab import Lab, LabSpec, NodeSpec, PodSpec, PortSpec

_PORT = 80
_CANARY = "canary"
_POLL_S = 0.002
_ANSWER_TIMEOUT_S = 5.0
_FIRST_INDEX = 100  # of cables, see Links.add_veth


def measure(size: LabSize) -> LabResult:
    """Measure in this process, which should be a new one. Raises KproxyError."""
    with Namespace.create("bench") as here, here.entered():
        floor_s = _seconds(lambda: _bare(size))
        await_taken_down()
        lab = Lab(_spec(size), mode=None)
        with ExitStack() as undo:
            build_s = _seconds(lambda: undo.enter_context(lab))
            serve_s = _seconds(lambda: _ask_all(lab))
            start = time.perf_counter()
        await_taken_down()
        down_s = time.perf_counter() - start
    return LabResult(
        size=size,
        user_mode_linux=on_uml(),
        build_s=build_s,
        serve_s=serve_s,
        down_s=down_s,
        floor_s=floor_s,
    )


def _spec(size: LabSize) -> LabSpec:
    """Return nodes that have about the same number of pods each."""
    pods: list[list[PodSpec]] = [[] for _ in range(size.nodes)]
    for number in range(size.pods):
        pod = PodSpec(name=f"pod-{number}", ports=(PortSpec(port=_PORT),))
        pods[number % size.nodes].append(pod)
    nodes = tuple(
        NodeSpec(name=f"node-{number}", pods=tuple(each)) for number, each in enumerate(pods)
    )
    return LabSpec(name="bench", nodes=nodes, network=size.network)


def _ask_all(lab: Lab) -> None:
    """Connect to each pod from itself. Raises KernelRefused if one does not answer.

    Not from its node: a kernel remembers 1024 neighbours by default, in all namespaces together.
    """
    for pod in lab.pods.values():
        place = (pod.addresses[Family.IPV4], _PORT)
        try:
            with (
                pod.namespace.entered(),
                socket.create_connection(place, timeout=_ANSWER_TIMEOUT_S) as asking,
            ):
                asking.sendall(b"hello\n")
                answered = bool(asking.recv(1))
        except OSError as error:
            raise KernelRefused(f"{pod.name} did not answer: {error}") from None
        if not answered:
            raise KernelRefused(f"{pod.name} closed the connection without an answer")


def _bare(size: LabSize) -> None:
    """Create and close a namespace for each node and pod, and a cable from each pod to its node."""
    with ExitStack() as undo:
        nodes = [undo.enter_context(Namespace.create("floor")) for _ in range(size.nodes)]
        pods = [undo.enter_context(Namespace.create("floor")) for _ in range(size.pods)]
        for place, node in enumerate(nodes):
            with node.entered(), Links() as links:
                for index, pod in enumerate(pods[place :: size.nodes], _FIRST_INDEX):
                    links.add_veth(f"v{index}", peer="eth0", peer_namespace=pod, index=index)


def await_taken_down() -> None:
    """Wait until the kernel has taken down all namespaces that were closed before.

    It takes them down in their order, in one worker, so that one of ours that is closed now is gone
    last: our end of a cable to it goes with it.
    """
    last = Namespace.create(_CANARY)
    with Links() as links:
        links.add_veth(_CANARY, peer="eth0", peer_namespace=last, index=_FIRST_INDEX)
    last.close()
    while any(name == _CANARY for _, name in socket.if_nameindex()):
        time.sleep(_POLL_S)


def _seconds(task: Callable[[], object]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


if __name__ == "__main__":
    answer(measure, LabSize)
