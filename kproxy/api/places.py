"""Where objects stand in files, and on which lines their fields are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from kproxy.api.problems import Problem


class Place(Struct, frozen=True, gc=False):
    """The place of an object in a file.

    `document` counts from 1; 0 is the file as a whole. `path` is "", or `items[3]` in a list.
    `line` is where the object begins; 0 if that is not known.
    """

    file: str
    document: int = 0
    path: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return place if self.line or not self.path else f"{place}: {self.path}"

    def at(self, field: str) -> str:
        """Return the path in the document of a field of the object."""
        return self.path + (f".{field}" if self.path and field[:1] not in ("", "[") else field)


class Lines:
    """The lines of objects and fields. Texts are read again only for those that are asked for."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    def of(self, wanted: Iterable[tuple[Place, str]]) -> dict[tuple[Place, str], int]:
        """Return the line of each field, or of what is around it if the file does not have it."""
        asked = [each for each in wanted if each[0].document]
        by_file: dict[str, dict[int, set[str]]] = {}
        for place, field in asked:
            documents = by_file.setdefault(place.file, {})
            documents.setdefault(place.document, set()).update(_with_parents(place.at(field)))
        found = {file: self._find(file, documents) for file, documents in by_file.items()}
        return {
            (place, field): next(
                (
                    found[place.file][place.document, path]
                    for path in _with_parents(place.at(field))
                    if (place.document, path) in found[place.file]
                ),
                place.line,
            )
            for place, field in asked
        }

    def _find(self, file: str, wanted: Mapping[int, set[str]]) -> Mapping[tuple[int, str], int]:
        from kproxy.api.yaml_documents import field_lines  # as in kproxy.api.documents

        return field_lines(self._texts[file], wanted) if file in self._texts else {}


def located(problems: Iterable[Problem], text: str) -> list[Problem]:
    """Return problems of the first document of a text with their lines."""
    place, known = Place("", 1), tuple(problems)
    lines = Lines({"": text}).of((place, each.field) for each in known if not each.line)
    return [each._replace(line=each.line or lines[place, each.field]) for each in known]


def _with_parents(path: str) -> list[str]:
    """Return a path and those of all values around it, the innermost first."""
    ends = [end for end in range(len(path) - 1, 0, -1) if path[end] in ".["]
    return [path, *(path[:end] for end in ends)]
