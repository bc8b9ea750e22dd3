"""The version of each file that is in force. A text is a list of objects; `bad` is a problem."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from kproxy.api.manifests import Decoded
from kproxy.api.types import Metadata, Node
from kproxy.sources.last_good import LastGood


def decode(texts: Mapping[str, bytes]) -> Decoded:
    """Decode words as the names of objects, each of which may occur only once in all files."""
    words = [(name, word) for name, text in texts.items() for word in text.decode().split()]
    problems = [f"{name}:1: metadata: bad" for name, word in words if word == "bad"]
    seen: dict[str, str] = {}
    for name, word in words:
        if word in seen:
            problems.append(f"{name}:1: metadata.name: {word} is in {seen[word]} already")
        seen.setdefault(word, name)
    objects = tuple(Node(metadata=Metadata(name=word)) for _, word in words if word != "bad")
    return Decoded(objects=objects, problems=tuple(problems), notices=())


def encoded(texts: Mapping[str, str]) -> dict[str, bytes]:
    return {name: text.encode() for name, text in texts.items()}


STEPS: list[
    tuple[str, dict[str, str], str, str]
] = [  # what the files hold -> what is in force, the files with problems
    ("good", {"a": "1", "b": "2"}, "1 2", ""),
    ("edited", {"a": "1 3", "b": "2"}, "1 2 3", ""),
    ("one is bad", {"a": "bad", "b": "4"}, "1 3 4", "a"),
    ("it stays bad, the other moves on", {"a": "bad", "b": "5"}, "1 3 5", "a"),
    ("both are bad", {"a": "bad", "b": "bad"}, "1 3 5", "a b"),
    ("fixed", {"a": "6", "b": "7"}, "6 7", ""),
    ("a new file is bad", {"a": "6", "b": "7", "c": "bad"}, "6 7", "c"),
    ("a new file contradicts", {"a": "6", "b": "7", "c": "6 8"}, "6 7", "c"),
    ("emptied, its object elsewhere", {"a": "", "b": "7 6"}, "6 7", "a"),
    ("removed", {"b": "7"}, "7", ""),
    ("emptied", {"b": " \n"}, "7", "b"),
    ("all removed", {}, "", ""),
]


def test_a_history() -> None:
    last_good = LastGood(decode)
    for title, texts, in_force, blamed in STEPS:
        decoded = last_good.take(encoded(texts))
        names = sorted(each.metadata.name for each in decoded.objects)
        assert " ".join(names) == in_force, title
        assert sorted({problem.split(":")[0] for problem in decoded.problems}) == blamed.split()


def test_an_old_version_that_contradicts_the_new_ones_puts_everything_back() -> None:
    """File `a` is invalid, and its last good version holds what has moved to `b` meanwhile."""
    last_good = LastGood(decode)
    last_good.take(encoded({"a": "1", "b": "2"}))
    decoded = last_good.take(encoded({"a": "bad", "b": "1 2"}))
    assert sorted(each.metadata.name for each in decoded.objects) == ["1", "2"]
    assert [problem.split(":")[0] for problem in decoded.problems] == ["a"]


@pytest.mark.parametrize("text", ["", "\n"])
def test_a_file_that_has_always_been_empty_is_no_problem(text: str) -> None:
    decoded = LastGood(decode).take(encoded({"a": text}))
    assert decoded == Decoded((), (), ())
