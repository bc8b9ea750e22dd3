"""The pictures of docs/scenario-pictures.md are those of the scenarios as they are."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kproxy.scenario.files import load
from netns_tests.scenario.pictures import FOLDER, PAGE, chosen, make, page
from tests.scenario.examples import EXAMPLES, SCENARIOS

_EPHEMERAL = re.compile(r":\d{5}\b")


def texts(picture: str, *kinds: str) -> Counter[str]:
    """Return the texts of these classes, without ports that chance chooses."""
    found = ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
    return Counter(
        _EPHEMERAL.sub("", each.text or "") for each in found if each.get("class") in kinds
    )


def test_the_page_has_all_scenarios() -> None:
    assert page(SCENARIOS) == PAGE.read_text()
    assert {each.stem for each in FOLDER.iterdir()} == {each.name for each in SCENARIOS}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: str(each.name))
def test_a_picture_is_of_the_question(scenario: object) -> None:
    each = next(each for each in SCENARIOS if each is scenario)
    question = chosen(each).question
    drawn = (FOLDER / f"{each.name}.svg").read_text()
    (title,) = texts(drawn, "title")
    assert title.startswith(f"{question.client} asks ")
    assert title.endswith(f", {question.protocol}")
    mode, network = each.form.modes[0], each.networks[0]
    failed = question.expected(network, mode).outcome != "success"
    assert bool(texts(drawn, "failed")) is failed


@pytest.mark.parametrize("name", ["lb-local-from-same-node", "udp-flow-outlives-its-endpoint"])
def test_a_run_gives_the_picture(name: str) -> None:
    made, drawn = make(load(EXAMPLES / name)), Path(FOLDER / f"{name}.svg").read_text()
    kinds = ("title", "change", "end", "words", "failed")
    assert texts(made, *kinds) == texts(drawn, *kinds)
