"""The content of scenario.yaml. Names of hosts are those of lab.yaml.

    title: A node asks the load balancer in front of its own pod
    says: what the document says about it # nothing if it is not from there
    modes: [iptables, nftables, ipvs]     # the modes it applies to; the first is the usual one
    networks: [vpc, tunnel]               # likewise; only the lab's own if it is not there
    questions:
      - client: node-a
        asks: {balancer: lb, port: 80}    # or node, eip (public address), service (cluster IP),
                                          # pod, address (any, as 127.0.0.1)
        expect: timeout                   # success, refused
      - client: node-b
        asks: {node: node-b, port: 30080}
        expect: success
        source: node-b                    # or eip, gateway, tunnel, second `of node-b`
        otherwise:                        # all that match count, later ones first
          - {in: tunnel, source: tunnel of node-b}
          - {in: tunnel-ipvs, expect: timeout}
      - client: node-b
        asks: {service: dns, port: 53}
        protocol: UDP                     # or SCTP; TCP if it is not there
        expect: success
        pods: [dns-a, dns-b]              # those that may answer; any pod if it is not there
        flow: queries                     # UDP from the same port in each step and remedy;
        bytes: 1472                       # its datagram has this size, and is not fragmented
    attached:                             # healthy backends of a load balancer: nodes, or pods
      - {balancer: lb, port: 80, backends: [node-a]}
    leftBehind: {node: node-a, mode: iptables, manifest: former.yaml}  # rules of a former proxy
    explanation: what can be observed
    steps:                                # what happens next, if it does; otherwise like remedies
      - title: The only ready pod goes away
        afterSeconds: 2                   # asked so long after the manifest was applied
        manifest: gone.yaml
        questions: [...]
        explanation: what can be observed then
    remedies:
      - title: Use the cluster IP
        says: what the document says about it  # nothing if it is not from there
        manifest: cluster.yaml            # applied on top of service.yaml
        questions: [...]
        cleanup: true                     # of what was left behind
        explanation: what can be observed then

`asks` may have a `host`: then an HTTP request for this host is sent, as to an ingress.
`ipvsLocalFallback: false`: ipvs mode as before Kubernetes 1.25.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct, field

from kproxy.api.types import Protocol
from kproxy.outcome import Expectation, Outcome

ConnectionOutcome = Literal["success", "refused", "timeout"]


class Target(Struct, frozen=True):
    """The target of a question: a port at exactly one of the other fields, except `host`."""

    port: int
    node: str = ""
    eip: str = ""
    service: str = ""
    balancer: str = ""
    pod: str = ""
    address: str = ""
    host: str = ""

    @property
    def named(self) -> dict[str, str]:
        """Return the names that are given, by field."""
        fields = {
            "node": self.node,
            "eip": self.eip,
            "service": self.service,
            "balancer": self.balancer,
            "pod": self.pod,
            "address": self.address,
        }
        return {key: name for key, name in fields.items() if name}

    def __str__(self) -> str:
        """Return words for people: `node-a, node port`."""
        (kind, name), *_ = self.named.items()
        match kind:
            case "node":
                return f"{name}, node port"
            case "eip":
                return f"public address of {name}"
            case "service":
                return f"cluster IP of {name}"
            case "balancer":
                return f"load balancer {name}"
            case "pod":
                return f"pod {name}"
            case _:
                return name


class Otherwise(Struct, frozen=True):
    """The expectation in some modes and networks: `ipvs`, `tunnel`, or `tunnel-ipvs`.

    An empty field is as in the question.
    """

    column: str = field(name="in")
    expect: Literal["", "success", "refused", "timeout"] = ""
    source: str = ""
    pods: tuple[str, ...] = ()


class Question(Struct, frozen=True):
    client: str
    asks: Target
    expect: ConnectionOutcome
    source: str = ""
    pods: tuple[str, ...] = ()
    protocol: Protocol = "TCP"
    flow: str = ""
    bytes: int = 0
    otherwise: tuple[Otherwise, ...] = ()

    def expected(self, network: str, mode: str) -> Expectation:
        """Return the expected outcome of a connection in that network and mode.

        Its `source` is in the words of `kproxy.explain.sources.Source`.
        """
        outcome, source, pods = self.expect, self.source, self.pods
        for other in self.otherwise:
            if other.column in (network, mode, f"{network}-{mode}"):
                outcome = other.expect or outcome
                source = other.source or source
                pods = other.pods or pods
        return expectation(outcome, source, pods)


def expectation(outcome: ConnectionOutcome, source: str, pods: Iterable[str] = ()) -> Expectation:
    """Return the expectation for a connection; one that fails has no source and no pods."""
    found = Outcome(outcome)
    if found is not Outcome.SUCCESS:
        return Expectation(outcome=found)
    return Expectation(outcome=found, source=source, pods=frozenset(pods))


class Attached(Struct, frozen=True):
    """The backends that a load balancer must have: names of nodes, or of pods, in any order."""

    balancer: str
    port: int
    backends: tuple[str, ...]


class LeftBehind(Struct, frozen=True):
    """The rules that a proxy of a mode had for the objects of a manifest when it was replaced by
    the lab's own, and that nobody has removed.
    """

    node: str
    mode: str
    manifest: str


class Remedy(Struct, frozen=True):
    """Objects applied on top of the original ones, and questions asked then.

    `cleanup`: what a former proxy has left behind is gone by then. `after_s`: the seconds between
    the objects and the questions.
    """

    title: str
    questions: tuple[Question, ...]
    explanation: str
    says: str = ""
    manifest: str = ""
    cleanup: bool = False
    after_s: int = field(name="afterSeconds", default=0)
    attached: tuple[Attached, ...] = ()


class Form(Struct, frozen=True, rename="camel"):
    """The whole file."""

    title: str
    modes: tuple[str, ...]
    questions: tuple[Question, ...]
    explanation: str
    says: str = ""
    networks: tuple[str, ...] = ()
    ipvs_local_fallback: bool = True
    left_behind: LeftBehind | None = None
    attached: tuple[Attached, ...] = ()
    steps: tuple[Remedy, ...] = ()
    remedies: tuple[Remedy, ...] = ()

    @property
    def parts(self) -> tuple[Remedy, ...]:
        """Return all that comes after the first questions: the steps, and then the remedies."""
        return (*self.steps, *self.remedies)
