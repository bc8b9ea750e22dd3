"""The questions of the matrix."""

from __future__ import annotations

import pytest

from kproxy.matrix.places import HOSTS, TARGETS, Client, Kind, Question, Target, questions
from kproxy.matrix.setting import Setting, alike

COUNTS = [  # kind, questions of node-same, node-other, container-same, container-other, outside
    (Kind.CLUSTER_IP, 1, 1, 1, 1, 0),
    (Kind.NODE_PORT, 4, 6, 4, 6, 2),
    (Kind.LOAD_BALANCER, 2, 2, 2, 2, 1),
    (Kind.DNAT_GATEWAY, 1, 1, 1, 1, 1),
    (Kind.NGINX, 2, 2, 2, 2, 1),
]


@pytest.mark.parametrize("row", COUNTS, ids=lambda row: row[0])
def test_how_many_questions(row: tuple[Kind, *tuple[int, ...]]) -> None:
    kind, *counts = row
    asked = questions([kind])
    found = [sum(question.client is client for question in asked) for client in Client]
    assert found == counts
    assert len(set(asked)) == len(asked)
    assert {question.target for question in asked} == set(TARGETS[kind])


def test_all_kinds_in_their_order() -> None:
    assert questions() == [question for kind in Kind for question in questions([kind])]


SENSELESS = [
    (Client.OUTSIDE, Target.SERVER_PRIVATE),
    (Client.OUTSIDE, Target.OWN_PUBLIC),
    (Client.NODE_SAME, Target.OWN_PRIVATE),  # the server's node is the client's own
    (Client.CONTAINER_SAME, Target.OWN_PUBLIC),
]


@pytest.mark.parametrize(("client", "target"), SENSELESS)
def test_what_is_not_asked(client: Client, target: Target) -> None:
    assert Question(Kind.NODE_PORT, client, target) not in questions()


def test_each_client_is_a_host_of_its_own() -> None:
    assert set(HOSTS) == set(Client)
    assert len(set(HOSTS.values())) == len(Client)


def test_settings_alike_differ_only_in_options() -> None:
    new, old = Setting(mode="ipvs"), Setting(mode="ipvs", local_fallback=False)
    other, nftables = Setting(mode="ipvs", network="tunnel"), Setting(mode="nftables")
    assert alike([old, other, new, nftables]) == [[old, new], [other], [nftables]]
