"""A table as the program `nft` prints it, for people, tests and explanations; never for a sync."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from kproxy.address import Family
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.process import run

_OBJECT = re.compile(r"\t((?:chain|set|map) \S+) \{")
_ELEMENTS = re.compile(r"elements = \{(.*)\}")
# What is between commas, which strings in quotes may have, too. Linear in the length of the text.
_BETWEEN_COMMAS = re.compile(r'(?:[^,"]|"[^"]*")+')


@lru_cache(maxsize=1)
def nft_version() -> tuple[int, ...]:
    """Return the version of the `nft` program. Raises Unsupported if it is not installed."""
    text = run(["nft", "--version"])
    found = re.search(r"v(\d+)\.(\d+)(?:\.(\d+))?", text)
    if not found:
        raise Unsupported(f"nft --version printed no version: {text[:80]!r}")
    return tuple(int(number or 0) for number in found.groups())


def table_listing(family: Family, name: str) -> dict[str, tuple[str, ...]]:
    """Return the rules of each `chain NAME`, and the elements of each `set NAME` and `map NAME`.

    Lines that declare the chain, set or map are left out. Empty if there is no such table.
    """
    try:
        text = run(
            ["nft", "--stateless", "list", "table", "ip" if family is Family.IPV4 else "ip6", name]
        )
    except KernelRefused as error:
        if "No such file" in str(error):
            return {}
        raise
    return objects_in(text)


def objects_in(text: str) -> dict[str, tuple[str, ...]]:
    """Return what `table_listing` does, given what nft has printed. Pure."""
    lines = iter(text.splitlines())
    listing: dict[str, tuple[str, ...]] = {}
    for line in lines:
        if opening := _OBJECT.fullmatch(line):
            body = list(_body(lines))
            is_chain = opening[1].startswith("chain ")
            listing[opening[1]] = tuple(_rules(body)) if is_chain else _elements(body)
    return listing


def _body(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line == "\t}":
            return
        yield line.strip()


def _rules(body: list[str]) -> Iterator[str]:
    for line in body:
        if not line.startswith(("type ", "comment ")):
            yield line


def _elements(body: list[str]) -> tuple[str, ...]:
    found = _ELEMENTS.search(" ".join(body))
    if not found:
        return ()
    return tuple(" ".join(each.split()) for each in _BETWEEN_COMMAS.findall(found[1].strip()))
