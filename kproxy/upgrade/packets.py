"""Asks the questions in a lab: real packets, on both sides.

python -m kproxy.upgrade.packets REQUEST    # JSON in, JSON out; one side, on another kernel
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from msgspec import Struct
from msgspec.structs import replace

from kproxy.address import Family, socket_family
from kproxy.api.types import EndpointSlice, KubernetesObject, Service
from kproxy.backend import BackendOptions
from kproxy.errors import BadInput
from kproxy.forwarding.plan import Plan, ServicePortName
from kproxy.kernel.measurement import answer as answer_request
from kproxy.kernel.measurement import measure_apart
from kproxy.lab import Lab
from kproxy.lab.names import ROUTER
from kproxy.outcome import How, Observation, Outcome
from kproxy.probe import Prober
from kproxy.probe.comparison import packet_problems
from kproxy.sources.files import Manifests
from kproxy.upgrade.lasting import Event
from kproxy.upgrade.model import Model, model_of, too_large
from kproxy.upgrade.prediction import Neighbours, only, plans_of, prediction
from kproxy.upgrade.questions import Question, questions
from kproxy.upgrade.side import Configured, configured, parse_side

ROUNDS = 3  # the choice of an endpoint is random
_SILENCE_S = 1.0  # for an answer that will not come
_MODULE = "kproxy.upgrade.packets"
_MOST_AT_ONCE = 400


class Request(Struct, frozen=True, kw_only=True):
    """One side, as the command line gives it, and the manifests."""

    side: str
    config: str
    manifests: tuple[str, ...]


class Measured(Struct, frozen=True, kw_only=True):
    """The answers of one side: by question (`key`), what was seen, in words, and how it differs
    from the prediction. `lasting`: by service port, family and event, whether it was answered.
    """

    seen: dict[str, tuple[str, ...]]
    problems: dict[str, tuple[str, ...]]
    lasting: dict[str, bool]


def key(question: Question) -> str:
    packet = question.packet
    return f"{packet.client} {packet.address} {packet.port} {packet.protocol}"


def lasting_key(service: ServicePortName, family: Family, event: Event) -> str:
    return f"{service} {family.value} {event.value}"


def measure(request: Request) -> Measured:
    """Build a lab for one side and ask everything. Raises BadInput, Unsupported, KernelRefused."""
    side = configured(parse_side(request.side), request.config or None)
    model = model_of(Manifests(request.manifests).read().objects)
    if reason := too_large(model):
        raise BadInput([f"--packets: no lab can be built: {reason}"])
    plans = plans_of(model, side)
    asked = list(_questions(model, plans))
    with _lab(model, side) as lab:
        seen, problems = _ask(lab, model, side, plans, asked)
        lasting = _ask_lasting(lab, model, plans)
    return Measured(seen=seen, problems=problems, lasting=lasting)


def measure_both(requests: Sequence[Request], tell: Callable[[str], None]) -> list[Measured]:
    """Measure each side, on user-mode Linux if this kernel lacks something that its mode needs."""
    found = []
    for request in requests:
        tell(f"asking in a lab: {request.side} ...")
        side = configured(parse_side(request.side), request.config or None)
        apart = side.mode.lacks_kernel()
        found.append(
            measure_apart(_MODULE, request, Measured, on_uml=True) if apart else measure(request)
        )
    return found


@contextmanager
def _lab(model: Model, side: Configured) -> Iterator[Lab]:
    config = replace(model.config(side.config), mode=side.mode.name)
    options: BackendOptions = side.options
    with Lab(model.spec, side.mode.name, config=config, options=options) as lab:
        lab.apply(model.objects)
        yield lab


def _questions(model: Model, plans: Mapping[Family, Mapping[str, Plan]]) -> Iterator[Question]:
    for of_nodes in plans.values():
        neighbours = Neighbours(next(iter(of_nodes.values())))
        for name in next(iter(of_nodes.values())).services:
            near = neighbours.of(name)
            yield from questions(
                model, {node: only(plan, near) for node, plan in of_nodes.items()}, name
            )


def _ask(
    lab: Lab,
    model: Model,
    side: Configured,
    plans: Mapping[Family, Mapping[str, Plan]],
    asked: Sequence[Question],
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    seen: dict[str, dict[str, None]] = {key(each): {} for each in asked}
    problems: dict[str, dict[str, None]] = {}
    expected = {key(each): prediction(model, side, plans[each.family], each) for each in asked}
    with Prober(lab) as prober:
        for _ in range(ROUNDS):
            for start in range(0, len(asked), _MOST_AT_ONCE):
                some = asked[start : start + _MOST_AT_ONCE]
                found = prober.ask_many([each.packet for each in some])
                for question, each in zip(some, found, strict=True):
                    observation = _unlimited(each)
                    seen[key(question)][_words(model, observation)] = None
                    for problem in packet_problems(expected[key(question)], observation):
                        problems.setdefault(key(question), {})[problem] = None
    return (
        {each: tuple(sorted(found)) for each, found in seen.items()},
        {each: tuple(found) for each, found in problems.items()},
    )


def _unlimited(seen: Observation) -> Observation:
    """Return what was seen, as if Linux told every client that no route leads on: it tells each of
    the first few packets only. The router drops nothing itself.
    """
    if seen.outcome is Outcome.DROPPED and seen.at == ROUTER:
        return Observation.refused(ROUTER, How.NET_UNREACHABLE, hops=seen.hops)
    return seen


def _words(model: Model, seen: Observation) -> str:
    if not seen.pod:
        return str(seen.outcome)
    source = model.name(model.hosts.get(seen.source, seen.source))
    lost = "" if seen.answered else ", whose answer is lost"
    return f"{model.name(seen.pod)} sees {source}{lost}"


def _ask_lasting(
    lab: Lab, model: Model, plans: Mapping[Family, Mapping[str, Plan]]
) -> dict[str, bool]:
    """Return, for a client of each UDP service port that answers, whether it is answered after its
    endpoints are gone, and after the Service is gone.
    """
    slices = [each for each in model.objects if isinstance(each, EndpointSlice)]
    services = [each for each in model.objects if isinstance(each, Service)]
    found: dict[str, bool] = {}
    for event, gone in ((Event.ENDPOINTS_GO, slices), (Event.SERVICE_GOES, services)):
        with ExitStack() as stack:
            clients = {}
            for family, of_nodes in plans.items():
                node, plan = next(iter(of_nodes.items()))
                with lab.hosts[model.visitors[node]].namespace.entered():
                    for each in plan.services.values():
                        if each.protocol == "UDP" and each.cluster and not each.internal_local:
                            sock = _client(each.cluster_ip.address, each.cluster_ip.port)
                            clients[each.name, family] = stack.enter_context(sock)
            if not clients:
                continue
            answering = _answered(clients)
            wanted: list[KubernetesObject] = [*gone]
            lab.delete(wanted)
            after = _answered({name: clients[name] for name in answering})
            lab.apply(wanted)
        found |= {
            lasting_key(name, family, event): (name, family) in after for name, family in answering
        }
    return found


def _client(address: str, port: int) -> socket.socket:
    made = socket.socket(socket_family(address), socket.SOCK_DGRAM)
    made.setblocking(False)
    made.connect((address, port))
    return made


_Who = tuple[ServicePortName, Family]


def _answered(clients: Mapping[_Who, socket.socket]) -> set[_Who]:
    """Let each client send a datagram; return those that are answered before all are silent."""
    answered: set[_Who] = set()
    with selectors.DefaultSelector() as selector:
        for who, client in clients.items():
            selector.register(client, selectors.EVENT_READ, who)
            try:
                client.send(b"who?\n")
            except OSError:  # refused by a rule of this host, or an error of the datagram before
                continue
        while selector.get_map() and (ready := selector.select(_SILENCE_S)):
            for each, _ in ready:
                sock = clients[each.data]
                try:
                    sock.recv(4096)
                    answered.add(each.data)
                except OSError:  # refused
                    pass
                selector.unregister(sock)
    return answered


if __name__ == "__main__":
    answer_request(measure, Request)
