"""YAML and JSON to plain values: scalars, keys, and how deep they may be nested."""

from __future__ import annotations

import re

import pytest

from kproxy.api import Decoded
from kproxy.api.problems import Problem
from kproxy.api.yaml_documents import documents
from tests.api.objects import stored

NODE_TEXT = "{apiVersion: v1, kind: Node, metadata: {name: %s}}"

SCALARS = [  # a plain scalar -> the value
    ("web", "web"),
    ("'8080'", "8080"),
    ("8080", 8080),
    ("0x1F", 31),
    ("0b11", 3),
    ("010", 8),
    ("0o10", 8),
    ("1_000", 1000),
    ("-3", -3),
    ("089", 89.0),
    ("1.5", 1.5),
    ("1e3", 1000.0),
    (".inf", float("inf")),
    ("12:30", "12:30"),  # YAML 1.1 reads 750
    ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
    ("2024-01-01", "2024-01-01"),  # YAML 1.1 reads a date
    ("10.0.0.1", "10.0.0.1"),
    ("yes", True),
    ("Off", False),
    ("y", True),
    ("N", False),
    ("1e+06", 1000000.0),
    ("1.048576e+06", 1048576.0),
    ("80.0", 80.0),
    ("5.", 5.0),
    ("-.5", -0.5),
    ("1_000.5", 1000.5),
    ("0O17", 15),
    ("0B11", 3),
    ("-0b11", -3),
    ("0x_1F", 31),
    ("0_8", 8.0),
    ("1e400", "1e400"),
    ("0x1p4", "0x1p4"),
    ("0o8", "0o8"),
    ("1e", "1e"),
    ("!!int '80'", 80),
    ("!!bool on", True),
    ("! 80", "80"),
    ("~", None),
    ("", None),
    ("=", "="),
    ("0x_", "0x_"),
    ("+", "+"),
    ("9" * 5000, "9" * 5000),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalars(text: str, value: object) -> None:
    (document,) = documents(f"a: {text}")
    assert document.problems == []
    assert document.value == {"a": value}
    assert type(document.value["a"]) is type(value)


KEYS = "{y: 1, 0x50: 2, 1.0: 3, On: 4, 1e3: 5, 007: 6, 'n': 7}"  # read by kubectl 1.32 as:
READ_KEYS = {"true": 4, "80": 2, "1": 3, "1000": 5, "7": 6, "n": 7}


def test_keys_are_text_as_in_json() -> None:
    (document,) = documents(KEYS)
    assert document.value == READ_KEYS
    assert document.repeated == [Problem("true", "given twice, first on line 1", 1)]


DEEP = [  # 100 levels are the most, in every format and under every name
    ("[", "1", "]"),
    ('{"a": ', "1", "}"),
    ('[{"[": ', "1", "}]"),
    ('{"\\"]}": [', "", "]}"),
]


@pytest.mark.parametrize("where", ["f.json", "f.yaml"])
@pytest.mark.parametrize(("begin", "middle", "end"), DEEP)
def test_depth_is_limited(begin: str, middle: str, end: str, where: str) -> None:
    head = '{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}, "deep": '
    levels = sum(begin.count(each) - begin.count(f'"{each}"') for each in "{[")

    def read(depth: int) -> Decoded:
        times = (depth - 1) // levels
        return stored(f"{head}\n{begin * times}{middle}{end * times}}}", where)

    assert len(read(99).objects) == 1
    for depth in (101 + levels - 1, 1000, 20_000, 200_000):
        (problem,) = read(depth).problems
        assert re.fullmatch(rf"{where}:2: \S+: more than 100 levels deep", problem)
    (problem,) = stored(begin * 100_000, where).problems  # not closed
    assert problem.startswith(f"{where}:1: ")


def test_documents_behind_a_deep_one_are_read() -> None:
    text = "\n---\n".join(["a: [" * 100_000, NODE_TEXT % "a"])
    decoded = stored(text, "f")
    assert [each.metadata.name for each in decoded.objects] == ["a"]
    assert len(decoded.problems) == 1
