"""What scenario.yaml holds. Names of hosts are those of lab.yaml.

    title: A node asks the load balancer in front of its own pod
    says: what the document says of it
    modes: [iptables, nftables, ipvs]     # it applies to; the first is the usual one
    networks: [vpc, tunnel]               # likewise; only the lab's own if it is not there
    questions:
      - client: node-a
        asks: {balancer: lb, port: 80}    # or node, eip (public address), service (cluster IP)
        expect: timeout                   # success, refused
      - client: node-b
        asks: {node: node-b, port: 30080}
        expect: success
        source: node-b                    # or eip, gateway, tunnel, second `of node-b`
        otherwise:                        # all that fit hold, the last one most
          - {in: tunnel, source: tunnel of node-b}
          - {in: tunnel-ipvs, expect: timeout}
    attached:                             # healthy backends of a load balancer: nodes, or pods
      - {balancer: lb, port: 80, backends: [node-a]}
    explanation: what one sees
    remedies:
      - title: Use the cluster IP
        says: what the document says of it  # nothing, if it is not from there
        manifest: cluster.yaml            # applied on top of service.yaml
        questions: [...]
        explanation: what one sees then

`asks` may have a `host`: then it is asked in HTTP, as an ingress wants it. `ipvsLocalFallback:
false`: ipvs mode as before Kubernetes 1.25.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from kproxy.outcome import Expectation, Outcome

ConnectionOutcome = Literal["success", "refused", "timeout"]


class Target(Struct, frozen=True):
    """Exactly one of the first four is given."""

    port: int
    node: str = ""
    eip: str = ""
    service: str = ""
    balancer: str = ""
    host: str = ""

    @property
    def named(self) -> dict[str, str]:
        """The names that are given, by field."""
        fields = {
            "node": self.node,
            "eip": self.eip,
            "service": self.service,
            "balancer": self.balancer,
        }
        return {key: name for key, name in fields.items() if name}

    def __str__(self) -> str:
        """For people: `the node port of node-a`."""
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
    """What is expected in some modes and networks: `ipvs`, `tunnel`, or `tunnel-ipvs`.

    "" is what the question has.
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
        """Return what a connection must meet there.

        Its `source` is in the words of `kproxy.explain.sources.Source`.
        """
        outcome, source = self.expect, self.source
        for other in self.otherwise:
            if other.column in (network, mode, f"{network}-{mode}"):
                outcome = other.expect or outcome
                source = other.source or source
        return expectation(outcome, source)


def expectation(outcome: ConnectionOutcome, source: str) -> Expectation:
    """Return what is expected of a connection; one that fails has no source."""
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
