"""Evaluates one statement against the observations. Pure.

Shares are tested against chance (`kproxy.probe.chi_square`); everything else has to hold for every
connection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from kproxy.matrix.plugins.seen import Answers, Inside, Observed
from kproxy.matrix.plugins.table import PluginStatement, Row
from kproxy.probe.chi_square import p_value

SINGLE, SEVERAL, BOTH = "sticky-single", "sticky", "sticky-both"
NEITHER = "neither"
# Even shares of nodes that have different numbers of pods come to 1e-28 for the pods, and chance
# alone to less than this once in ten million measurements.
_UNEVEN_BELOW = 1e-7


class PluginFinding(Struct, frozen=True, kw_only=True):
    """The result for a statement, in words, and its evidence."""

    statement: PluginStatement
    found: str
    """The measured counterpart of the statement's `expect`."""
    measured: str
    evidence: tuple[str, ...]
    unreproducible: str = ""
    """The observed reason why it is not as documented; "" if it agrees, or none was observed."""

    @property
    def agrees(self) -> bool:
        return self.found == self.statement.expect

    @property
    def disappoints(self) -> bool:
        """Tell whether it disagrees without an observed reason."""
        return not self.agrees and not self.unreproducible


class _Evaluation(NamedTuple):
    found: str
    measured: str
    evidence: tuple[str, ...]
    why: str = ""


def evaluate(statement: PluginStatement, observed: Observed) -> PluginFinding:
    """Evaluate a statement other than EXAMPLE. `observed`: for its plugin and policy."""
    return _finding(statement, _EVALUATIONS[statement.row](observed))


def evaluate_example(
    statement: PluginStatement, older: Sequence[Inside], newer: Sequence[Inside]
) -> PluginFinding:
    """Evaluate an access that "may vary or even fail", for kube-proxy before and since 1.25."""
    failing = [_failing(older), _failing(newer)]
    found = "fails" if any(failing) else "works"
    if failing[0] != failing[1]:
        measured = "it depends on the version of kube-proxy"
    else:
        measured = f"with every version it {found}"
    evidence = [
        f"{version}: {_reach(clients)}"
        for version, clients in (("before 1.25", older), ("since 1.25", newer))
    ]
    return _finding(statement, _Evaluation(found, measured, tuple(evidence)))


def _finding(statement: PluginStatement, evaluation: _Evaluation) -> PluginFinding:
    return PluginFinding(
        statement=statement,
        found=evaluation.found,
        measured=evaluation.measured,
        evidence=evaluation.evidence,
        unreproducible="" if evaluation.found == statement.expect else evaluation.why,
    )


def _backends(seen: Observed) -> _Evaluation:
    """Evaluate which backends are attached, and whether they got the connections."""
    attached = set(seen.backends)
    passed = _passed(seen)
    kinds = {
        "pods": set(seen.pods),
        "pod-nodes": set(seen.pods.values()),
        "all-nodes": set(seen.nodes),
    }
    found = next((kind for kind, its in kinds.items() if attached == its), NEITHER)
    measured = f"attached: {_names(seen.backends)}"
    if passed.keys() != attached or seen.plain.failed:
        found, measured = NEITHER, f"{measured}; but connections pass {_names(passed)}"
    return _Evaluation(found, measured, (f"connections from outside pass {_counts(passed)}",))


def _quota(seen: Observed) -> _Evaluation:
    attached, nodes = len(seen.backends), len(seen.nodes)
    found = "fewer" if attached < nodes else "one-per-node"
    return _Evaluation(
        found,
        f"{attached} backends in a cluster of {nodes} nodes and {len(seen.pods)} pods",
        (f"attached: {_names(seen.backends)}",),
    )


def _path(seen: Observed) -> _Evaluation:
    """Evaluate where packets from inside are translated."""
    reached = [each for each in seen.inside if each.answers.by]
    around = [each for each in reached if each.passed_balancer]
    by_node = [
        each for each in reached if each.way and each.way[0].startswith(f"{each.node} sends it to ")
    ]
    clients = _names(dict.fromkeys(each.answers.client for each in reached))
    if not around and by_node == reached:
        measured = "the client's own node translates; the load balancer sees nothing"
        return _Evaluation("node", measured, (f"clients: {clients}", f"e.g. {reached[0].way[0]}"))
    measured = (
        f"by the load balancer: {_names(dict.fromkeys(each.answers.client for each in around))}"
    )
    return _Evaluation("balancer" if around == reached else NEITHER, measured, ())


def _inside(seen: Observed) -> _Evaluation:
    reaching, failing = _reaching(seen.inside), _failing(seen.inside)
    with_pods = set(seen.pods.values())
    if not failing:
        found = "all-nodes"
    elif reaching == with_pods and not (reaching & failing):
        found = "pod-nodes"
    else:
        found = NEITHER
    strangers = [each for each in seen.inside if each.node not in with_pods and each.answers.by]
    why = ""
    if found != "pod-nodes" and strangers:
        # One process and one pod are enough, because all nodes have the same rules.
        shown = {each.answers.client == each.node: each for each in reversed(strangers)}
        why = "; ".join(
            f"{shown[kind].node} runs no pod of it, yet {_why(shown[kind])}"
            for kind in (True, False)
            if kind in shown
        )
    return _Evaluation(found, _reach(seen.inside), tuple(_access(seen.inside)), why)


def _balance(seen: Observed) -> _Evaluation:
    if seen.plain.failed or seen.weighted.failed:
        return _broken(seen.plain, seen.weighted)
    plain, weighted = (_shares(seen, each) for each in (seen.plain, seen.weighted))
    default, by_weight = (p_value(each) >= _UNEVEN_BELOW for each in (plain, weighted))
    if default:
        found, measured = "by-default", "every pod gets an even share"
    elif by_weight:
        found, measured = "weighted", "nodes get even shares, pods do not; with wrr pods do"
    else:
        found, measured = NEITHER, "pods get uneven shares, also with wrr"
    evidence = [
        f"{name}: pods {_counts(answers.pods)} (p={p_value(shares):.2g}), "
        f"backends {_counts(_passed_by(seen, answers))}"
        for name, answers, shares in (
            ("rr", seen.plain, plain),
            ("wrr", seen.weighted, weighted),
        )
    ]
    return _Evaluation(found, measured, tuple(evidence))


def _source(seen: Observed) -> _Evaluation:
    if seen.plain.failed:
        return _broken(seen.plain)
    owners: Counter[str] = Counter()
    for source, count in seen.plain.sources.items():
        owners[seen.hosts[source]] += count
    client = seen.plain.client
    found = "kept" if owners.keys() == {client} else NEITHER if client in owners else "lost"
    measured = {
        "kept": "pods see the client's address",
        "lost": "pods see addresses of nodes",
    }.get(found, "pods see the client's address at times")
    return _Evaluation(found, measured, (f"{client} is seen as {_counts(owners)}",))


def _persistence(seen: Observed) -> _Evaluation:
    """Evaluate persistence with at most one pod on a node: a load balancer's ends at the node."""
    asked = [seen.plain, *(each for clients in seen.sticky.values() for each in clients)]
    if any(each.failed for each in asked):
        return _broken(*asked)
    kept = _stay(seen.sticky[SINGLE]) and len(seen.plain.pods) > 1
    names = {
        SINGLE: "persistence, one pod on a node",
        SEVERAL: "persistence, several pods on a node",
        BOTH: "the same, and sessionAffinity ClientIP",
    }
    evidence = [f"{text}: {_each(seen.sticky[name])}" for name, text in names.items()]
    evidence.append(f"without persistence: {_each([seen.plain])}")
    return _Evaluation("kept" if kept else "lost", _persistence_in_words(seen), tuple(evidence))


def _persistence_in_words(seen: Observed) -> str:
    if _stay(seen.sticky[SEVERAL]):
        return "a client returns to its pod"
    remedy = "; with sessionAffinity ClientIP to its pod" if _stay(seen.sticky[BOTH]) else ""
    if not _stay(seen.sticky[SINGLE]):
        return f"a client meets pods of all nodes{remedy}"
    return f"a client returns to its node, and to its pod if that is the only one{remedy}"


_EVALUATIONS: Mapping[Row, Callable[[Observed], _Evaluation]] = {
    Row.BACKENDS: _backends,
    Row.QUOTA: _quota,
    Row.PATH: _path,
    Row.INSIDE: _inside,
    Row.BALANCE: _balance,
    Row.SOURCE: _source,
    Row.PERSISTENCE: _persistence,
}


def _broken(*asked: Answers) -> _Evaluation:
    failed = sum((Counter(dict(each.failed)) for each in asked), Counter[str]())
    return _Evaluation(NEITHER, f"connections from outside fail: {_counts(failed)}", ())


def _passed(seen: Observed) -> Counter[str]:
    return _passed_by(seen, seen.plain)


def _passed_by(seen: Observed, answers: Answers) -> Counter[str]:
    """Count connections by backend: the pod, its node, or the node whose address the pod saw."""
    found: Counter[str] = Counter()
    for pod, source, count in answers.by:
        owner = seen.hosts[source]
        node = owner if owner in seen.nodes else seen.pods[pod]
        found[pod if pod in seen.backends else node] += count
    return found


def _shares(seen: Observed, answers: Answers) -> list[int]:
    return [answers.pods[pod] for pod in seen.pods]


def _stay(clients: Iterable[Answers]) -> bool:
    return all(len(each.pods) == 1 for each in clients)


def _reaching(clients: Iterable[Inside]) -> set[str]:
    """Return the nodes from which some connection succeeds."""
    return {each.node for each in clients if each.answers.by}


def _failing(clients: Iterable[Inside]) -> set[str]:
    """Return the nodes from which some connection fails."""
    return {each.node for each in clients if each.answers.failed}


def _reach(clients: Sequence[Inside]) -> str:
    failing = _failing(clients)
    reaching = _reaching(clients) - failing
    if not failing:
        return f"reached from every node: {_names(sorted(reaching))}"
    how = Counter(how for each in clients for how, _ in each.answers.failed)
    return f"reached from {_names(sorted(reaching))}; from {_names(sorted(failing))}: {_names(how)}"


def _access(clients: Iterable[Inside]) -> list[str]:
    """Return a line for each client, with its answers from both addresses together."""
    pods: dict[str, Counter[str]] = {}
    for each in clients:
        its = pods.setdefault(each.answers.client, Counter())
        its.update(each.answers.pods)
        its.update(dict(each.answers.failed))
    return [f"{client}: {_counts(counts)}" for client, counts in pods.items()]


def _why(client: Inside) -> str:
    rule = f" ({client.rule})" if client.rule else ""
    what = "its own traffic" if client.answers.client == client.node else "its pods' traffic"
    return f"{what} is not held to the policy{rule}: {'; '.join(client.way)}"


def _each(clients: Iterable[Answers]) -> str:
    return ", ".join(f"{each.client} meets {_names(sorted(each.pods))}" for each in clients)


def _names(names: Iterable[str]) -> str:
    return " ".join(names) or "nobody"


def _counts(counts: Mapping[str, int]) -> str:
    return " ".join(f"{name}:{counts[name]}" for name in sorted(counts)) or "nobody"
