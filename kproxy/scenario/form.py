"""The content of scenario.yaml. Names of hosts are those of lab.yaml.

    title: A node asks the load balancer in front of its own pod
    says: what the document says about it
    modes: [iptables, nftables, ipvs]     # the modes it applies to; the first is the usual one
    networks: [vpc, tunnel]               # likewise; only the lab's own if it is not there
    questions:
      - client: node-a
        asks: {balancer: lb, port: 80}    # or node, eip (public address), service (cluster IP)
        expect: timeout                   # success, refused
      - client: node-b
        asks: {node: node-b, port: 30080}
        expect: success
        source: node-b                    # or eip, gateway, tunnel, second `of node-b`
        otherwise:                        # all that match count, later ones first
          - {in: tunnel, source: tunnel of node-b}
          - {in: tunnel-ipvs, expect: timeout}
    attached:                             # healthy backends of a load balancer: nodes, or pods
      - {balancer: lb, port: 80, backends: [node-a]}
    explanation: what can be observed
    remedies:
      - title: Use the cluster IP
        says: what the document says about it  # nothing if it is not from there
        manifest: cluster.yaml            # applied on top of service.yaml
        questions: [...]
        explanation: what can be observed then

`asks` may have a `host`: then an HTTP request for this host is sent, as to an ingress.
`ipvsLocalFallback: false`: ipvs mode as before Kubernetes 1.25.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from kproxy.outcome import Expectation, Outcome

ConnectionOutcome = Literal["success", "refused", "timeout"]


class Target(Struct, frozen=True):
    """The target of a question: a port at exactly one of node, eip, service and balancer."""

    port: int
    node: str = ""
    eip: str = ""
    service: str = ""
    balancer: str = ""
    host: str = ""

    @property
    def named(self) -> dict[str, str]:
        """Return the names that are given, by field."""
        fields = {
            "node": self.node,
            "eip": self.eip,
            "service": self.service,
            "balancer": self.balancer,
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
            case _:
                return f"load balancer {name}"


class Otherwise(Struct, frozen=True):
    """The expectation in some modes and networks: `ipvs`, `tunnel`, or `tunnel-ipvs`.

    An empty field is as in the question.
    """

    column: str = field(name="in")
    expect: Literal["", "success", "refused", "timeout"] = ""
    source: str = ""


class Question(Struct, frozen=True):
    client: str
    asks: Target
    expect: ConnectionOutcome
    source: str = ""
    otherwise: tuple[Otherwise, ...] = ()

    def expected(self, network: str, mode: str) -> Expectation:
        """Return the expected outcome of a connection in that network and mode.

        Its `source` is in the words of `kproxy.explain.sources.Source`.
        """
        outcome, source = self.expect, self.source
        for other in self.otherwise:
            if other.column in (network, mode, f"{network}-{mode}"):
                outcome = other.expect or outcome
                source = other.source or source
        return expectation(outcome, source)


def expectation(outcome: ConnectionOutcome, source: str) -> Expectation:
    """Return the expectation for a connection; one that fails has no source."""
    found = Outcome(outcome)
    return Expectation(outcome=found, source=source if found is Outcome.SUCCESS else "")


class Attached(Struct, frozen=True):
    """The backends that a load balancer must have: names of nodes, or of pods, in any order."""

    balancer: str
    port: int
    backends: tuple[str, ...]


class Remedy(Struct, frozen=True):
    title: str
    questions: tuple[Question, ...]
    explanation: str
    says: str = ""
    manifest: str = ""
    attached: tuple[Attached, ...] = ()


class Form(Struct, frozen=True, rename="camel"):
    """The whole file."""

    title: str
    says: str
    modes: tuple[str, ...]
    questions: tuple[Question, ...]
    explanation: str
    networks: tuple[str, ...] = ()
    ipvs_local_fallback: bool = True
    attached: tuple[Attached, ...] = ()
    remedies: tuple[Remedy, ...] = ()
