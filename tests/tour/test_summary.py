"""Summaries: sentences made of findings."""

from __future__ import annotations

import pytest

from kproxy.probe import Finding
from kproxy.tour.part import Part
from kproxy.tour.summary import paragraphs

OWNERS = {"10.244.3.11": "shell", "192.168.10.11": "node-a", "198.51.100.7": "outside"}


def finding(check: str, client: str, answered: str, source: str = "") -> Finding:
    return Finding(
        check=check,
        client=client,
        asked="192.168.10.11:30080",
        answered=answered,
        source=source,
        expected="",
        why="",
    )


SEEN = [
    (
        [finding("cluster IP", "shell", "web-1", "10.244.3.11")],
        "The cluster IP of web answers shell. There the server sees shell as the source.",
    ),
    (
        [
            finding("node port", "outside", "web-1", "192.168.10.11"),
            finding("node port", "shell", "web-1", "192.168.10.11"),
        ],
        (
            "The node port of web answers outside and shell."
            " There the server sees node-a instead of outside and node-a instead of shell."
        ),
    ),
    (
        [
            finding("node port", "outside", "web-1", "198.51.100.7"),
            finding("node port", "outside", "dropped at node-a"),
        ],
        (
            "The node port of web answers outside,"
            " but not outside at 192.168.10.11:30080 (dropped at node-a)."
            " There the server sees outside as the source."
        ),
    ),
    (
        [finding("load balancer", "outside", "refused by node-a")],
        "The load balancer's address of web does not answer outside (refused by node-a).",
    ),
    (
        [finding("node port", "shell", "web-1, unheard", "10.244.3.11")],
        "The node port of web does not answer shell (web-1, unheard).",
    ),
    (
        [finding("distribution", "shell", "web-1:3 web-2:4", "10.244.3.11")],
        "Many connections of shell are spread over the pods: web-1:3 web-2:4.",
    ),
    ([], None),
]


@pytest.mark.parametrize(("findings", "said"), SEEN)
def test_sentences(findings: list[Finding], said: str | None) -> None:
    part = Part(title="web, NodePort", findings=findings)
    owner = OWNERS.get
    assert list(paragraphs([part], lambda it: owner(it, it))) == ([said] if said else [])
