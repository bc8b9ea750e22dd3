"""Makes docs/scenario-pictures.md and its pictures, and the picture of a page: as root,
`python -m netns_tests.scenario.pictures`, or with names of scenarios for their pictures only.

`pngquant` makes the picture of the page small.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from kproxy.scenario.files import Scenario, load, names
from kproxy.scenario.form import Question, Remedy
from netns_tests.ui.browser import running

_ROOT = Path(__file__).parents[2]
EXAMPLES, DOCS = _ROOT / "examples" / "scenarios", _ROOT / "docs"
PHOTOGRAPHED = ("lb-local-from-same-node", DOCS / "pictures" / "scenario.png")
PAGE, FOLDER = DOCS / "scenario-pictures.md", DOCS / "pictures" / "scenarios"
_DECISIVE = {  # the round and the question in it, where `chosen` would take another one
    "same-source-port-behind-one-node": (1, 2),
    "same-source-port-to-two-services": (3, 1),
    "topology-hints": (1, 1),
    "two-proxies": (1, 4),
    "udp-flow-before-its-service": (2, 1),
}
_HEAD = """# Scenarios in pictures

Of each [scenario](scenarios.md) the question that decides it, in the mode and the network that come
first in its file: the way of the packet, hop by hop, there and back, as [`kproxy trace`](trace.md)
draws it. All questions of a scenario, with each remedy, in any of its modes:

    kproxy scenario run hairpin --mode nftables --svg pictures

This page and its pictures are made by `python -m netns_tests.scenario.pictures`.
"""


class Chosen(NamedTuple):
    """A question, the place of its round, and its number in that, both from 1. `part` None: before
    steps and remedies.
    """

    place: int
    number: int
    part: Remedy | None
    question: Question


def chosen(scenario: Scenario) -> Chosen:
    """Return the first question without a remedy that fails; if there is none, the first one after
    the first step; or just the first one.
    """
    form = scenario.form
    mode, network = form.modes[0], scenario.networks[0]
    failing = [
        number
        for number, each in enumerate(form.questions, 1)
        if each.expected(network, mode).outcome != "success"
    ]
    usual = (1, failing[0]) if failing else (2 if form.steps else 1, 1)
    place, number = _DECISIVE.get(scenario.name, usual)
    part = form.parts[place - 2] if place > 1 else None
    return Chosen(place, number, part, (part or form).questions[number - 1])


def page(scenarios: Iterable[Scenario]) -> str:
    return "\n".join([_HEAD, *(line for each in scenarios for line in _entry(each))])


def _entry(scenario: Scenario) -> Iterator[str]:
    form, (_, _, part, question) = scenario.form, chosen(scenario)
    mode, network = form.modes[0], scenario.networks[0]
    found = question.expected(network, mode).outcome
    then = f" Then: {part.title}." if part else ""
    asked = f"{question.client} asks {question.asks}, port {question.asks.port}"
    yield f"## {scenario.name}\n"
    yield f"{form.title} ({mode} mode, network {network}).{then}\n"
    yield f"![{asked}: {found}]({FOLDER.relative_to(DOCS)}/{scenario.name}.svg)\n"


def make(scenario: Scenario) -> str:
    """Run the scenario and return its picture."""
    place, number, *_ = chosen(scenario)
    with tempfile.TemporaryDirectory() as folder:
        _run(scenario.name, "--svg", folder)
        (file,) = Path(folder).glob(f"{place}-{number}-*.svg")
        return file.read_text()


def photograph(name: str, file: Path) -> None:
    """Run the scenario, and write how its page looks."""
    with tempfile.TemporaryDirectory() as folder, running() as browser:
        html = Path(folder) / "page.html"
        _run(name, "--html", str(html))
        browser.open(html.as_uri(), width=1000, height=1620).screenshot(file)
    options = ["--force", "--strip", "--nofs", f"--output={file}", "200"]
    subprocess.run(["pngquant", *options, str(file)], check=True)


def _run(name: str, *options: str) -> None:
    run = ["scenario", "run", str(EXAMPLES / name), *options]
    subprocess.run([sys.executable, "-m", "kproxy", *run], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    wanted = sys.argv[1:] or names(EXAMPLES)
    for name in wanted:
        (FOLDER / f"{name}.svg").write_text(make(load(EXAMPLES / name)))
    if not sys.argv[1:]:
        photograph(*PHOTOGRAPHED)
    PAGE.write_text(page(load(EXAMPLES / name) for name in names(EXAMPLES)))


if __name__ == "__main__":
    main()
