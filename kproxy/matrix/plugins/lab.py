"""Observes the effect of a network plugin on LoadBalancer Services in a lab, by connections.

Three pods of the application run on node-a, one on node-b, and three nodes have none: so a load
balancer that spreads evenly over nodes is seen not to spread evenly over pods. All Services that
are needed exist side by side, so one lab is enough for a plugin.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import Service, ServicePort
from kproxy.backend import BackendOptions
from kproxy.edge.annotations import PERSISTENCE, SCHEDULER
from kproxy.explain.facts import Facts
from kproxy.explain.reason import Reason, explain
from kproxy.explain.rule_names import name_of
from kproxy.explain.traces import TracedStep, Traces, deciding
from kproxy.forwarding.network import Packet
from kproxy.lab import Lab, LabSpec, NodeSpec, PodSpec, PortSpec
from kproxy.lab.models import MODELS, Transport
from kproxy.lab.objects import service
from kproxy.lab.spec import BalancerSpec, ClientSpec, EdgeSpec
from kproxy.matrix.plugins.seen import Answers, Inside, Observed
from kproxy.matrix.setting import options
from kproxy.outcome import Connection
from kproxy.probe import Prober, connect_many
from kproxy.probe.connection import greeting
from kproxy.probe.following import Followed
from kproxy.probe.journey import Journey
from kproxy.probe.packets import Role

POLICIES = ("Local", "Cluster")
CLIENTS = ("outside-1", "outside-2", "outside-3", "outside-4")
_FAMILY = Family.IPV4
_BALANCER = "lb"
_POD_PORT = 8080
_MANY, _EACH = 400, 20  # connections to count shares; connections of one client for persistence
# Slow checks cost nothing, since no backend fails here; quick ones fail on a slow kernel.
_CHECK_INTERVAL_S = 4.0
_STICKY = {PERSISTENCE: "600"}
PLAIN = "plain"
_SERVICES: Mapping[str, Mapping[str, object]] = {
    PLAIN: {},
    "weighted": {"annotations": {SCHEDULER: "wrr"}},
    "sticky-single": {"annotations": _STICKY, "app": "single"},
    "sticky": {"annotations": _STICKY},
    "sticky-both": {"annotations": _STICKY, "session_affinity": "ClientIP"},
}


def observe(lab: Lab) -> dict[str, Observed]:
    """Return the observations by policy, in a lab of `running` with all Services.

    Raises Unsupported if this kernel cannot trace.
    """
    inside = observe_inside(lab)
    return {policy: _observe(lab, policy, inside[policy]) for policy in POLICIES}


def observe_inside(lab: Lab) -> dict[str, tuple[Inside, ...]]:
    """Return only the observations of clients inside, by policy. Raises like `observe`.

    Both addresses of the load balancer are asked, from every node and every pod that is no server.
    """
    where = {name: name for name in lab.nodes}
    where |= {pod.name: pod.node for pod in lab.pods.values() if not pod.spec.labels}
    balancer = lab.balancers[_BALANCER]
    packets = {
        policy: [
            Packet(client=client, address=address, port=port_of(PLAIN, policy))
            for client in where
            for address in (balancer.addresses[_FAMILY], balancer.public[_FAMILY])
        ]
        for policy in POLICIES
    }
    asked = [packet for each in packets.values() for packet in each]
    inside = dict(zip(asked, _ask_and_follow(lab, asked, where), strict=True))
    return {policy: tuple(inside[each] for each in its) for policy, its in packets.items()}


@contextmanager
def running(
    network: str,
    mode: str,
    *,
    local_fallback: bool = True,
    services: Collection[str] = tuple(_SERVICES),
) -> Iterator[Lab]:
    """Run the lab with these Services, for each policy. Raises what `Lab` raises."""
    its = options_of(mode, local_fallback=local_fallback)
    with Lab(_spec(network), mode, options=its, check_interval_s=_CHECK_INTERVAL_S) as lab:
        made = [_service(name, policy) for policy in POLICIES for name in services]
        lab.apply([*made, *(each for one in made for each in lab.slices(one))])
        yield lab


def options_of(mode: str, *, local_fallback: bool) -> BackendOptions:
    """Return the options of the proxies. `local_fallback`: in ipvs mode, as since 1.25."""
    return options(mode, _FAMILY, local_fallback=local_fallback)


def port_of(name: str, policy: str) -> int:
    """Return a Service's port at the load balancer; its node port is 30000 more."""
    return 80 + 100 * POLICIES.index(policy) + [*_SERVICES].index(name)


def _spec(network: str) -> LabSpec:
    def web(name: str, app: str = "") -> PodSpec:
        labels = {"app": "web", **({"single": "yes"} if app == "single" else {})}
        return PodSpec(name=name, labels=labels, ports=(PortSpec(port=_POD_PORT),))

    def shell(node: str) -> PodSpec:
        return PodSpec(name=f"shell-{node[-1]}")

    by_node = {
        "node-a": (web("web-a1", "single"), web("web-a2"), web("web-a3"), shell("node-a")),
        "node-b": (web("web-b", "single"), shell("node-b")),
        "node-c": (shell("node-c"),),
        "node-d": (),
        "node-e": (),
    }
    # Only a dedicated load balancer reaches pods; where pods have no addresses of the VPC, nodes.
    kind = "dedicated" if MODELS[network].transport is Transport.UNDERLAY else "shared"
    return LabSpec(
        name="plugins",
        families=(_FAMILY,),
        network=network,
        nodes=tuple(NodeSpec(name=name, pods=pods) for name, pods in by_node.items()),
        clients=tuple(ClientSpec(name=name) for name in CLIENTS),
        edge=EdgeSpec(balancers=(BalancerSpec(name=_BALANCER, kind=kind),)),
    )


def _service(name: str, policy: str) -> Service:
    special = _SERVICES[name]
    port = port_of(name, policy)
    made = service(
        f"{name}-{policy.lower()}",
        type="LoadBalancer",
        cluster_ips=[f"10.96.0.{port}"],
        ports=[ServicePort(port=port, target_port=_POD_PORT, node_port=30000 + port)],
        selector={"single": "yes"} if special.get("app") else {"app": "web"},
        external_traffic_policy=policy,
        health_check_node_port=31000 + port if policy == "Local" else 0,
        session_affinity=special.get("session_affinity", "None"),
    )
    annotations = special.get("annotations", {})
    return replace(made, metadata=replace(made.metadata, annotations=annotations))


def _observe(lab: Lab, policy: str, inside: tuple[Inside, ...]) -> Observed:
    pods = {pod.name: pod.node for pod in lab.pods.values() if pod.spec.labels.get("app") == "web"}
    (listener,) = (
        each.listener
        for each in lab.balancer_state()
        if each.listener.key.port == port_of(PLAIN, policy)
    )
    by_address = {pod.addresses[_FAMILY]: pod.name for pod in lab.pods.values()}
    sticky = {
        name: tuple(_ask(lab, CLIENTS, port_of(name, policy), _EACH))
        for name in _SERVICES
        if name.startswith("sticky")
    }
    (plain,) = _ask(lab, CLIENTS[:1], port_of(PLAIN, policy), _MANY)
    (weighted,) = _ask(lab, CLIENTS[:1], port_of("weighted", policy), _MANY)
    sources = {*plain.sources, *(lab.clients[each].addresses[_FAMILY] for each in CLIENTS)}
    return Observed(
        policy=policy,
        nodes=tuple(lab.nodes),
        pods=pods,
        hosts={source: _owner(lab, source) for source in sources},
        backends=tuple(by_address.get(each.address, each.name) for each in listener.backends),
        plain=plain,
        weighted=weighted,
        sticky=sticky,
        inside=inside,
    )


def _ask(lab: Lab, clients: Iterable[str], port: int, count: int) -> list[Answers]:
    """Make connections from each client to the public address, like the internet."""
    public = lab.balancers[_BALANCER].public[_FAMILY]
    packets = [Packet(client=client, address=public, port=port) for client in clients]
    return _connect(lab, packets, count)


def _connect(lab: Lab, packets: Sequence[Packet], count: int) -> list[Answers]:
    """Make `count` connections for each packet, all at once."""
    return _answers(packets, connect_many(lab, _repeated(packets, count)), count)


def _repeated(packets: Iterable[Packet], count: int) -> list[Packet]:
    return [packet for packet in packets for _ in range(count)]


def _answers(packets: Sequence[Packet], found: Sequence[Connection], count: int) -> list[Answers]:
    """Count the outcomes of `count` connections for each packet."""
    answers = []
    for index, packet in enumerate(packets):
        its = found[index * count : (index + 1) * count]
        by = Counter((each.pod, each.source) for each in its if each.success)
        failed = Counter(str(each) for each in its if not each.success)
        answers.append(
            Answers(
                client=packet.client,
                by=tuple((pod, source, times) for (pod, source), times in sorted(by.items())),
                failed=tuple(sorted(failed.items())),
            )
        )
    return answers


def _owner(lab: Lab, address: str) -> str:
    """Return the host that sends from an address: a client, or a node, also for its pod subnet."""
    for host in (*lab.clients.values(), *lab.nodes.values()):
        if host.addresses[_FAMILY] == address:
            return host.name
    for node in lab.nodes.values():
        if ip_address(address) in ip_network(node.subnets[_FAMILY]):
            return node.name
    return address


def _ask_and_follow(
    lab: Lab, asked: Sequence[Packet], where: Mapping[str, str]
) -> Iterator[Inside]:
    """Make connections and send a traced probe for each packet, and yield what both have shown."""
    with ExitStack() as stack:
        prober = stack.enter_context(Prober(lab))
        exchanges = [*map(greeting, _repeated(asked, _EACH))]
        connections = stack.enter_context(Followed(lab, prober, exchanges))
        traces = Traces(deciding(lab), lab.iptables_variant(_FAMILY), families=[_FAMILY])
        stack.callback(traces.leave)  # the lab ends soon
        probed = [*_probe(lab, prober, traces, asked, where)]
        of_each = [each for each in probed for _ in range(_EACH)]
        connections.conclude(
            [each.journey for each in of_each], lambda place: of_each[place].reason.lasts
        )
        answers = _answers(asked, connections.results(), _EACH)
    for packet, each, its in zip(asked, probed, answers, strict=True):
        yield Inside(
            node=where[packet.client],
            answers=its,
            way=each.reason.way,
            rule=each.rule,
            passed_balancer=_BALANCER in each.journey.observed.hops,
        )


class _Probed(NamedTuple):
    """A traced probe. `rule`: the one that chose the pool of pods, if it was seen."""

    journey: Journey
    reason: Reason
    rule: str


def _probe(
    lab: Lab,
    prober: Prober,
    traces: Traces,
    packets: Sequence[Packet],
    where: Mapping[str, str],
) -> Iterator[_Probed]:
    journeys = prober.follow_many(packets)
    steps = traces.read({journey.tag for journey in journeys})
    facts = Facts(lab.hosts)
    for packet, journey in zip(packets, journeys, strict=True):
        its_steps = steps.get(journey.tag, [])
        yield _Probed(
            journey,
            explain(packet, journey, its_steps, facts, traces.describe),
            _choosing_rule(where[packet.client], its_steps, traces),
        )


def _choosing_rule(node: str, steps: Iterable[TracedStep], traces: Traces) -> str:
    """Return the rule of the client's node that left the chain for external destinations, or ""."""
    for traced in steps:
        step = traced.step
        ours = traced.host == node and traced.role is Role.REQUEST and step.kind == "rule"
        if ours and step.chain.startswith(("KUBE-EXT-", "external-")):
            verdict, _, chain = step.verdict.partition(" ")
            if verdict in ("jump", "goto") and chain.startswith(("KUBE-SVC-", "service-")):
                return name_of(step, traces.describe(traced))
    return ""
