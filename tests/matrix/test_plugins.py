"""The table of network plugins, and the agreement of observations with it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from kproxy.matrix.plugins.evaluate import BOTH, SEVERAL, SINGLE, evaluate, evaluate_example
from kproxy.matrix.plugins.seen import Answers, Inside, Observed
from kproxy.matrix.plugins.table import NETWORKS, PluginStatement, Row, documented

NODES = ("node-a", "node-b", "node-c", "node-d", "node-e")
PODS = {"web-a1": "node-a", "web-a2": "node-a", "web-b": "node-b"}
CLIENT, ITS_ADDRESS = "outside-1", "198.51.100.11"
HOSTS = {ITS_ADDRESS: CLIENT, **{f"192.168.10.1{n}": name for n, name in enumerate(NODES, 1)}}


def answers(client: str = CLIENT, source: str = ITS_ADDRESS, **pods: int) -> Answers:
    """Make answers. `pods`: the number of each pod's; underscores stand for dashes."""
    by = tuple((pod.replace("_", "-"), source, count) for pod, count in pods.items())
    return Answers(client=client, by=by)


FAILED = Answers(client=CLIENT, by=(), failed=(("refused", 20),))
EVEN = answers(web_a1=100, web_a2=100, web_b=100)
BY_NODE = answers(web_a1=75, web_a2=75, web_b=150)
# Every node forwards, and spreads evenly.
MASQUERADED = Answers(
    client=CLIENT,
    by=tuple((pod, address, 20) for pod in PODS for address in HOSTS if address != ITS_ADDRESS),
)
ONE, ALL_POSSIBLE = (answers(web_a1=20),), (answers(web_a1=6, web_a2=6, web_b=8),)


def inside(
    node: str, reached: Answers, *, way: tuple[str, ...] = (), around: bool = False
) -> Inside:
    client = replace(reached, client=node)
    return Inside(node=node, answers=client, way=way, rule="", passed_balancer=around)


def everyone(failing: tuple[str, ...] = ()) -> tuple[Inside, ...]:
    return tuple(
        inside(node, FAILED)
        if node in failing
        else inside(node, EVEN, way=(f"{node} sends it to 10.244.1.11:8080 (IPVS)",))
        for node in NODES
    )


LOCAL = Observed(
    policy="Local",
    nodes=NODES,
    pods=PODS,
    hosts=HOSTS,
    backends=("node-a", "node-b"),
    plain=BY_NODE,
    weighted=EVEN,
    sticky={SINGLE: ONE, SEVERAL: (answers(web_a1=9, web_a2=11),), BOTH: ONE},
    inside=everyone(failing=NODES[2:]),
)
CLUSTER = replace(
    LOCAL,
    policy="Cluster",
    backends=NODES,
    plain=MASQUERADED,
    weighted=MASQUERADED,
    sticky={SINGLE: ALL_POSSIBLE, SEVERAL: ALL_POSSIBLE, BOTH: ONE},
    inside=everyone(),
)
DIRECT = replace(
    LOCAL,
    backends=tuple(PODS),
    plain=EVEN,
    sticky=dict.fromkeys((SINGLE, SEVERAL, BOTH), ONE),
)
AS_DOCUMENTED: Mapping[tuple[str, str], Observed] = {
    ("flannel", "Local"): LOCAL,
    ("flannel", "Cluster"): CLUSTER,
    ("terway-eniip", "Local"): DIRECT,
    ("terway-eniip", "Cluster"): replace(DIRECT, inside=everyone()),
}
STATEMENTS = [each for each in documented() if each.row is not Row.EXAMPLE]


def statement(row: Row, policy: str = "Local", plugin: str = "flannel") -> PluginStatement:
    (found,) = (
        each
        for each in documented()
        if (each.plugin, each.row, each.policy) == (plugin, row, policy)
    )
    return found


def test_the_table_is_complete() -> None:
    """Every row is in both columns for each plugin, except two that the document has in one."""
    only_local = {("terway-eniip", Row.PATH), ("flannel", Row.EXAMPLE)}
    expected = {
        (plugin, row, policy)
        for plugin in NETWORKS
        for row in Row
        for policy in ("Local", "Cluster")
        if row not in (Row.PATH, Row.EXAMPLE) or ((plugin, row) in only_local and policy == "Local")
    }
    found = [(each.plugin, each.row, each.policy) for each in documented()]
    assert len(found) == len(set(found)) == 26
    assert set(found) == expected


@pytest.mark.parametrize("statement", STATEMENTS, ids=str)
def test_as_documented(statement: PluginStatement) -> None:
    finding = evaluate(statement, AS_DOCUMENTED[statement.plugin, statement.policy])
    assert finding.agrees, finding
    assert not finding.unreproducible


OTHERWISE = [  # observation, row, result
    (CLUSTER, Row.BACKENDS, "all-nodes"),
    (replace(LOCAL, backends=("node-a", "node-c")), Row.BACKENDS, "neither"),
    (replace(LOCAL, plain=answers(web_a1=20)), Row.BACKENDS, "neither"),
    (replace(LOCAL, plain=FAILED), Row.BACKENDS, "neither"),
    (CLUSTER, Row.QUOTA, "one-per-node"),
    (CLUSTER, Row.INSIDE, "all-nodes"),
    (replace(LOCAL, inside=everyone(failing=NODES)), Row.INSIDE, "neither"),
    (replace(LOCAL, inside=everyone(failing=NODES[1:])), Row.INSIDE, "neither"),
    (replace(LOCAL, inside=everyone(failing=NODES[3:])), Row.INSIDE, "neither"),
    (replace(LOCAL, weighted=BY_NODE), Row.BALANCE, "neither"),
    (replace(LOCAL, plain=FAILED), Row.BALANCE, "neither"),
    (CLUSTER, Row.BALANCE, "by-default"),
    (CLUSTER, Row.SOURCE, "lost"),
    (replace(LOCAL, plain=FAILED), Row.SOURCE, "neither"),
    (replace(LOCAL, plain=Answers(client=CLIENT, by=(*EVEN.by, *MASQUERADED.by))), Row.SOURCE,
     "neither"),
    (CLUSTER, Row.PERSISTENCE, "lost"),
    (replace(LOCAL, plain=answers(web_a1=20)), Row.PERSISTENCE, "lost"),
    (replace(LOCAL, sticky={**LOCAL.sticky, BOTH: (FAILED,)}), Row.PERSISTENCE, "neither"),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "row", "found"), OTHERWISE)
def test_otherwise(seen: Observed, row: Row, found: str) -> None:
    finding = evaluate(statement(row), seen)
    assert (finding.found, finding.agrees) == (found, False)


def test_who_passes_the_load_balancer() -> None:
    around = tuple(inside(node, EVEN, way=("lb sends it to x",), around=True) for node in NODES)
    for seen, found in ((around, "balancer"), ((*around, *everyone()), "neither")):
        finding = evaluate(statement(Row.PATH, plugin="terway-eniip"), replace(DIRECT, inside=seen))
        assert (finding.found, finding.agrees) == (found, False)


def test_only_what_was_seen_excuses() -> None:
    """The reason names the way from nodes without pods that reach one, and no failing nodes."""
    finding = evaluate(statement(Row.INSIDE), CLUSTER)
    assert not finding.disappoints
    assert "node-c sends it to 10.244.1.11:8080 (IPVS)" in finding.unreproducible
    silent = evaluate(statement(Row.INSIDE), replace(LOCAL, inside=everyone(failing=NODES[1:])))
    assert silent.disappoints
    assert evaluate(statement(Row.SOURCE), CLUSTER).disappoints


@pytest.mark.parametrize(
    ("older", "newer", "found", "measured"),
    [
        (NODES[2:], (), "fails", "it depends on the version of kube-proxy"),
        (NODES[2:], NODES[2:], "fails", "with every version it fails"),
        ((), (), "works", "with every version it works"),
    ],
)
def test_example(older: tuple[str, ...], newer: tuple[str, ...], found: str, measured: str) -> None:
    finding = evaluate_example(statement(Row.EXAMPLE), everyone(older), everyone(newer))
    assert (finding.found, finding.measured) == (found, measured)
    assert finding.agrees == (found == "fails")
