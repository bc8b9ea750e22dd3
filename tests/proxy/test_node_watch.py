"""A proxy whose Node is no longer what it was."""

from __future__ import annotations

import logging

import pytest
from msgspec.structs import replace

from kproxy.api.types import Node
from kproxy.errors import NodeChanged
from kproxy.proxy.node_watch import NodeWatch
from kproxy.versions import Version
from tests.config.test_node import node_of

NODE = node_of("10.0.0.1", "fd00::1", "10.0.0.2")
LABELLED = replace(NODE, metadata=replace(NODE.metadata, labels={"a": "b"}))
CHANGES: list[tuple[str, list[Node | None], str]] = [  # the Node at the start and after -> why
    ("no Node", [None, None], ""),
    ("the same", [NODE, NODE], ""),
    ("a label", [NODE, LABELLED], ""),
    ("a further address", [NODE, node_of("10.0.0.1", "fd00::1", "10.0.0.9")], ""),
    ("another primary address", [NODE, node_of("10.0.0.2", "fd00::1", "10.0.0.1")],
     "the addresses of node node-a changed: 10.0.0.1, fd00::1 -> 10.0.0.2, fd00::1"),
    ("the order of families", [NODE, node_of("fd00::1", "10.0.0.1", "10.0.0.2")],
     "the addresses of node node-a changed: 10.0.0.1, fd00::1 -> fd00::1, 10.0.0.1"),
    ("one family is lost", [NODE, node_of("10.0.0.1")],
     "the addresses of node node-a changed: 10.0.0.1, fd00::1 -> 10.0.0.1"),
    ("no address is left", [NODE, node_of()],
     "the addresses of node node-a changed: 10.0.0.1, fd00::1 -> none"),
    ("the first address comes", [None, node_of(), NODE],
     "the addresses of node node-a changed: none -> 10.0.0.1, fd00::1"),
    ("a Node without address comes", [None, node_of()], ""),
    ("it goes", [NODE, None], "its Node object was deleted"),
    ("it goes after a label", [NODE, LABELLED, None], "its Node object was deleted"),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "why"), [pytest.param(*row[1:], id=row[0]) for row in CHANGES])
def test_which_changes_end_the_process(
    nodes: list[Node | None], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    start, *events = nodes
    watch, going_on = (NodeWatch(start, version) for version in (Version.V1_37, Version.V1_36))
    for event in events:
        going_on.check(event)
    assert [record.message for record in caplog.records] == [why] * bool(why)
    if not why:
        for event in events:
            watch.check(event)
        return
    for event in events[:-1]:
        watch.check(event)
    with pytest.raises(NodeChanged) as ended:
        watch.check(events[-1])
    assert str(ended.value) == why
    assert "start it again" in ended.value.remedy


POD_CIDRS = ("10.244.0.0/24", "fd00:10:244::/64")
OF_PODS = node_of("10.0.0.1", pod_cidrs=POD_CIDRS)
OTHER_PODS = node_of("10.0.0.1", pod_cidrs=POD_CIDRS[::-1])


@pytest.mark.parametrize("version", Version, ids=str)
def test_other_pod_cidrs_end_the_process_in_every_version(version: Version) -> None:
    watch = NodeWatch(OF_PODS, version, pod_cidrs_count=True)
    watch.check(OF_PODS)
    with pytest.raises(NodeChanged) as ended:
        watch.check(OTHER_PODS)
    assert str(ended.value) == (
        "the pod CIDRs of node node-a changed: 10.244.0.0/24, fd00:10:244::/64 ->"
        " fd00:10:244::/64, 10.244.0.0/24"
    )


def test_pod_cidrs_are_compared_before_addresses() -> None:
    watch = NodeWatch(OF_PODS, Version.V1_37, pod_cidrs_count=True)
    with pytest.raises(NodeChanged, match=r"pod CIDRs of node node-a changed: .* -> none"):
        watch.check(node_of("10.0.0.2"))


def test_pod_cidrs_that_decide_nothing_may_change() -> None:
    watch = NodeWatch(OF_PODS, Version.V1_37)
    watch.check(OTHER_PODS)
