"""The output of `up`, `ls` and `get`."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from kproxy.cli.api_kinds import Kind, find_kinds
from kproxy.cli.api_tables import print_tables
from kproxy.cli.lab_status import age
from kproxy.cli.watching import object_shown, one_watched, table_shown
from kproxy.report.columns import column_lines
from kproxy.resident.api_client import Refusal, refusal
from tests.cli.kinds import DEPLOYMENTS, NODES, PODS

AGES = [  # seconds -> as kubectl prints it
    (0, "0s"),
    (119.9, "119s"),
    (120, "2m"),
    (125, "2m5s"),
    (600, "10m"),
    (10799, "179m"),
    (10800, "3h"),
    (11100, "3h5m"),
    (8 * 3600, "8h"),
    (47 * 3600, "47h"),
    (48 * 3600, "2d"),
    (49 * 3600, "2d1h"),
    (8 * 86400, "8d"),
    (800 * 86400, "2y70d"),
]


@pytest.mark.parametrize(("seconds", "text"), AGES)
def test_age(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_columns_are_three_apart_and_fold() -> None:
    rows = [("NAME", "ADDRESSES"), ("a-long-name", "192.168.10.11")]
    assert column_lines(rows) == ["NAME          ADDRESSES", "a-long-name   192.168.10.11"]
    assert column_lines(rows, 20) == ["NAME", " ADDRESSES", "a-long-name", " 192.168.10.11"]


KINDS = [PODS, DEPLOYMENTS, NODES]

WORDS = [
    ("pods", [PODS]),
    ("po", [PODS]),
    ("Pod", [PODS]),
    ("deploy.apps", [DEPLOYMENTS]),
    ("deployments.apps", [DEPLOYMENTS]),
    ("no,po", [NODES, PODS]),
    ("all", [PODS, DEPLOYMENTS]),
]


@pytest.mark.parametrize(("word", "found"), WORDS)
def test_kinds_have_many_names(word: str, found: list[Kind]) -> None:
    assert find_kinds(KINDS, word) == found


def test_an_unknown_kind() -> None:
    with pytest.raises(Refusal, match='the server doesn\'t have a resource type "ships"'):
        find_kinds(KINDS, "po,ships")


def test_paths() -> None:
    assert PODS.path("default", "a") == "/api/v1/namespaces/default/pods/a"
    assert PODS.path(None) == "/api/v1/pods"
    assert DEPLOYMENTS.path("x", "web", "scale").endswith("/x/deployments/web/scale")
    assert NODES.path("default", "node-a") == "/api/v1/nodes/node-a"
    assert PODS.path("x", "a/b") == "/api/v1/namespaces/x/pods/a%2Fb"


def table(*names: str) -> dict[str, Any]:
    return {
        "kind": "Table",
        "columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "IP", "priority": 1}],
        "rows": [
            {"cells": [name, None], "object": {"metadata": {"namespace": "shop"}}} for name in names
        ],
    }


PRINTED = [  # tables, wide, everywhere -> lines
    ([(PODS, table("a"))], False, False, "NAME\na\n"),
    ([(PODS, table("a"))], True, False, "NAME   IP\na      <none>\n"),
    ([(PODS, table("a"))], False, True, "NAMESPACE   NAME\nshop        a\n"),
    ([(PODS, table("a")), (PODS, table("b"))], False, False, "NAME\na\nb\n"),
    (
        [(PODS, table("a")), (DEPLOYMENTS, table("b"))],
        False,
        False,
        "NAME\npod/a\n\nNAME\ndeployment.apps/b\n",
    ),
]


@pytest.mark.parametrize(("tables", "wide", "everywhere", "text"), PRINTED)
def test_tables(
    tables: list[tuple[Kind, dict[str, Any]]],
    wide: bool,
    everywhere: bool,
    text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_tables(tables, wide=wide, everywhere=everywhere, namespace="default")
    assert capsys.readouterr().out == text


def test_nothing_is_said_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    print_tables([(PODS, table())], wide=False, everywhere=False, namespace="shop")
    print_tables([(NODES, table())], wide=False, everywhere=False, namespace="shop")
    assert capsys.readouterr() == (
        "",
        "No resources found in shop namespace.\nNo resources found\n",
    )


REFUSED: list[tuple[int, dict[str, Any], str]] = [
    (
        404,
        {"reason": "NotFound", "message": 'pods "a" not found'},
        'Error from server (NotFound): pods "a" not found',
    ),
    (401, {"reason": "Unauthorized"}, "error: You must be logged in to the server (Unauthorized)"),
    (
        422,
        {
            "reason": "Invalid",
            "details": {
                "kind": "Service",
                "name": "web",
                "causes": [{"field": "spec.ports", "message": "Required value"}],
            },
        },
        'The Service "web" is invalid: spec.ports: Required value',
    ),
    (
        422,
        {
            "reason": "Invalid",
            "details": {
                "kind": "Service",
                "name": "web",
                "causes": [{"field": "a", "message": "x"}, {"field": "b", "message": "y"}],
            },
        },
        'The Service "web" is invalid: \n* a: x\n* b: y',
    ),
]


@pytest.mark.parametrize(("status", "values", "text"), REFUSED)
def test_refusals_are_worded_as_by_kubectl(status: int, values: dict[str, Any], text: str) -> None:
    assert str(refusal(status, values)) == text


def test_a_watched_table_has_one_head_and_columns_that_grow(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show = table_shown(wide=True, everywhere=False)
    show(table())
    assert capsys.readouterr().out == ""
    show(table("web-1"))
    for name in ("a-long-name", "web-2"):
        show({**table(name), "columnDefinitions": None})
    assert capsys.readouterr().out.splitlines() == [
        "NAME    IP",
        "web-1   <none>",
        "a-long-name   <none>",
        "web-2         <none>",
    ]


def test_watched_objects_of_yaml_are_documents(capsys: pytest.CaptureFixture[str]) -> None:
    show = object_shown(PODS, "yaml")
    for name in ("a", "b"):
        show({"metadata": {"name": name, "managedFields": [{}]}})
    assert [*yaml.safe_load_all(capsys.readouterr().out)] == [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}} for name in ("a", "b")
    ]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ([(PODS, ""), (NODES, "")], "you may only specify a single resource type"),
        ([(PODS, "a"), (PODS, "b")], "you may only watch a single resource or type of resource"),
    ],
)
def test_one_thing_is_watched(wanted: list[tuple[Kind, str]], said: str) -> None:
    with pytest.raises(Refusal, match=said):
        one_watched(wanted)
    assert one_watched(wanted[:1]) == wanted[0]
