"""The effect of the profile `cce`: the same questions with the defaults of kube-proxy."""

from __future__ import annotations

import pytest

from kproxy.matrix.places import Client, Kind, Question, Target
from kproxy.matrix.setting import Setting
from netns_tests.findings import require_none
from netns_tests.matrix.conftest import Measured, Surveys
from netns_tests.matrix.expected import (
    BYPASS,
    CHECK_C,
    DROP_C,
    GW,
    NODE,
    POD,
    QUESTIONS,
    VTEP,
    Ending,
    ending,
    in_mode,
    met,
)


def rows(
    kind: Kind, *table: tuple[str, str, Ending, Ending]
) -> dict[Question, tuple[Ending, Ending]]:
    return {
        Question(kind, Client(client), Target(target)): (tunnel, vpc)
        for client, target, tunnel, vpc in table
    }


# client, target, in the tunnel, in the VPC
UPSTREAM = {
    # Packets without masquerading keep their source, and pods on a bridge answer past the node.
    **rows(
        Kind.CLUSTER_IP,
        ("container-same", "cluster-ip", POD, BYPASS),
        ("container-other", "cluster-ip", POD, POD),
    ),
    # Nodes know pods, and lead them to all endpoints. The VPC drops packets forwarded by the third.
    **rows(
        Kind.NODE_PORT,
        ("container-other", "own-node-private", POD, POD),
        ("container-same", "another-node-private", DROP_C, CHECK_C),
        ("container-other", "another-node-private", DROP_C, CHECK_C),
    ),
    # Nodes catch packets to load balancers and to the DNAT gateway, as if to a cluster IP.
    **rows(
        Kind.LOAD_BALANCER,
        ("node-same", "lb-private", GW, GW),
        ("node-same", "lb-public", GW, GW),
        ("node-other", "lb-private", VTEP, NODE),
        ("node-other", "lb-public", VTEP, NODE),
        ("container-same", "lb-private", POD, BYPASS),
        ("container-same", "lb-public", POD, BYPASS),
        ("container-other", "lb-private", POD, POD),
        ("container-other", "lb-public", POD, POD),
    ),
    **rows(
        Kind.DNAT_GATEWAY,
        ("node-same", "dnat-public", GW, GW),
        ("node-other", "dnat-public", VTEP, NODE),
        ("container-same", "dnat-public", POD, BYPASS),
        ("container-other", "dnat-public", POD, POD),
    ),
}


@pytest.mark.parametrize("network", ["tunnel", "vpc"])
@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_profiles_differ_in_these_cells(measured: Measured, mode: str, network: str) -> None:
    upstream = Setting(mode=mode, network=network, profile="upstream")
    wanted = {question: ending(upstream, question) for question in QUESTIONS}
    wanted |= {
        question: in_mode(mode, endings[network == "vpc"]) for question, endings in UPSTREAM.items()
    }
    cells = measured(upstream)
    assert {
        (question, cell.protocol): met(cell, wanted[question])
        for (question, _), cell in cells.items()
        if question.kind is not Kind.NGINX
    } == {
        (question, protocol): wanted[question]
        for question, protocol in cells
        if question.kind is not Kind.NGINX
    }


@pytest.mark.parametrize(("network", "reached"), [("tunnel", True), ("vpc", False)])
def test_an_ingress_asks_a_cluster_ip(measured: Measured, network: str, reached: bool) -> None:
    """An ingress on the server's node asks like `container-same`, which fails in the VPC. It does
    not matter whether the ingress or its client gives up first.
    """
    cells = measured(Setting(network=network, profile="upstream"))
    outcomes = {
        cell.connection.outcome for (asked, _), cell in cells.items() if asked.kind is Kind.NGINX
    }
    assert outcomes == {"success" if reached else "timeout"}


@pytest.mark.parametrize("network", ["tunnel", "vpc"])
@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_trace_and_explain_agree(surveys: Surveys, mode: str, network: str) -> None:
    setting = Setting(mode=mode, network=network, profile="upstream")
    require_none(surveys(setting).disagreements)
