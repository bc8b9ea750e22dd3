"""The manifests of examples/services, and those of users, each described by a comment on top."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from kproxy.errors import BadInput

FOLDER = "services"  # in examples/
LAB = "lab/services.yaml"
_NAME = re.compile(r"[a-z0-9-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A manifest and the comment at the head of the file."""

    name: str
    path: Path
    title: str
    """The first line of the comment; "" without one."""
    text: tuple[str, ...]
    """The other paragraphs."""


def known(folder: Path) -> list[Example]:
    """Return the examples in `folder` (this installation's examples/services) by name.

    Raises OSError.
    """
    return [_read(path.stem, path) for path in sorted(folder.glob("*.yaml"))]


def find(folder: Path, wanted: str) -> Example | None:
    """Return the example of that name, or else the manifest at that path; None if there is neither.

    Raises BadInput for a file that cannot be read.
    """
    path, name = folder / f"{wanted}.yaml", wanted
    if not (_NAME.fullmatch(wanted) and path.is_file()):
        path, name = Path(wanted), Path(wanted).name
    if not path.is_file():
        return None
    try:
        return _read(name, path)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput([f"{path}: {error}"]) from None


def listing(examples: Iterable[Example]) -> list[str]:
    """Return a line for each: `  cluster-ip        ClusterIP: one address for ...`."""
    return [f"  {example.name:16}  {example.title}".rstrip() for example in examples]


def _read(name: str, path: Path) -> Example:
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = [
        line.removeprefix("#").strip() for line in takewhile(lambda it: it.startswith("#"), lines)
    ]
    title, text = (comment[0], comment[1:]) if comment else ("", [])
    paragraphs = "\n".join(text).strip().split("\n\n")
    return Example(
        name=name,
        path=path,
        title=title,
        text=tuple(" ".join(each.split()) for each in paragraphs if each),
    )
