"""README.md and docs/ mention only files, links and names that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ROOMS = r"(?:kproxy|backends|docs|examples|netns_tests|scripts|tests)"

# A file or folder of the repository, from its root: kproxy/lab/models.py, netns_tests/dns.
PATH = re.compile(rf"(?<![\w./-]){ROOMS}/[\w./-]*\w")
# A module, or something in one: kproxy.probe, kproxy.forwarding.oracle.predict.
NAME = re.compile(r"(?<![\w./-])(?:kproxy(?:_\w+)?|tests|netns_tests)(?:\.[A-Za-z_]\w*)+")
NO_MODULES = {"kproxy.backends"}  # a group of entry points
LINK = re.compile(r"\]\(([^)\s]+)\)")


def page_name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def stale_paths(text: str) -> Iterator[str]:
    """Yield the paths of files and folders that do not exist."""
    for path in PATH.findall(text):
        if not (ROOT / path).exists():
            yield path


def stale_names(text: str) -> Iterator[str]:
    """Yield the dotted names that cannot be imported."""
    for name in NAME.findall(text):
        if name not in NO_MODULES and not importable(name):
            yield name


def importable(name: str) -> bool:
    """Tell whether `name` is a module, or an attribute of one at any depth."""
    found: object = None
    path = ""
    for part in name.split("."):
        path = f"{path}.{part}".lstrip(".")
        if hasattr(found, part):
            found = getattr(found, part)
            continue
        try:
            found = import_module(path)
        except ModuleNotFoundError:
            return False
    return True


def stale_links(page: Path, text: str) -> Iterator[str]:
    """Yield the links to missing pages, or to headings that a page does not have."""
    for link in LINK.findall(text):
        if re.match(r"\w+://", link):
            continue
        target, _, anchor = link.partition("#")
        path = page.parent / target if target else page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text())):
            yield link


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_what_a_page_mentions_exists(page: Path) -> None:
    text = page.read_text()
    assert [*stale_paths(text), *stale_names(text), *stale_links(page, text)] == []


@pytest.mark.parametrize(
    ("text", "stale"),
    [
        ("see kproxy/backend.py.", ["kproxy/backend.py"]),
        ("see kproxy/backend/contract.py, netns_tests/dns and [a](docs/matrix.md).", []),
        (
            "`kproxy.forwarding.oracle.predict`, kproxy.lab.Lab, kproxy_ipvs.MODE",
            [],
        ),
        ("`kproxy.forwarding.oracle.foretell`", ["kproxy.forwarding.oracle.foretell"]),
        ("[a](docs/matrix.md#nowhere)", ["docs/matrix.md#nowhere"]),
        ("[a](docs/matrix.md#how-a-reason-is-found), [b](https://example.com/x)", []),
        ("/opt/kproxy/bin, kproxy.yaml is no module", ["kproxy.yaml"]),
    ],
)
def test_stale_words_are_found(text: str, stale: list[str]) -> None:
    page = ROOT / "README.md"
    assert [*stale_paths(text), *stale_names(text), *stale_links(page, text)] == stale
