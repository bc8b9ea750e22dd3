"""Names end up in rule text and comments, so no name may contain what could form a rule."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.objects import ENDPOINTS, NODE, POD, SERVICE, SLICE, Manifest, edited, problems_of

FIELDS: list[tuple[Manifest, str]] = [
    (SERVICE, "metadata.name"),
    (SERVICE, "metadata.namespace"),
    (SERVICE, "spec.ports[0].name"),
    (SERVICE, "spec.ports[0].targetPort"),
    (SLICE, "metadata.name"),
    (SLICE, "metadata.namespace"),
    (SLICE, "ports[0].name"),
    (SLICE, "endpoints[0].nodeName"),
    (SLICE, "endpoints[0].hints.forZones[0].name"),
    (SLICE, "endpoints[0].hints.forNodes[0].name"),
    (ENDPOINTS, "metadata.name"),
    (ENDPOINTS, "metadata.namespace"),
    (ENDPOINTS, "subsets[0].ports[0].name"),
    (ENDPOINTS, "subsets[0].addresses[0].nodeName"),
    (NODE, "metadata.name"),
    (NODE, "metadata.labels[topology.kubernetes.io/zone]"),
    (POD, "metadata.name"),
    (POD, "metadata.namespace"),
    (POD, "spec.nodeName"),
    (POD, "spec.containers[0].name"),
    (POD, "spec.containers[0].ports[0].name"),
]

REFUSED = [
    'a"b',
    "a'b",
    "a`b",
    "a b",
    " a",
    "a ",
    "a\n",
    "a\nb",
    "a\r",
    "a\tb",
    "a\0b",
    "a\x7f",
    "a;b",
    "a|b",
    "a&b",
    "a$b",
    "$(a)",
    "a\\b",
    "a#b",
    "a*",
    "a!b",
    "a<b",
    "a,b",
    "a:b",
    "a/b",
    "a->b",
    "a=b",
    "a@b",
    "{a}",
    "[a]",
    "-a",
    "a-",
    "--comment",
    ".a",
    "a.",
    "é",
    "а",  # Cyrillic
    "ａ",  # full width
    "a\u200b",
    "a\u2028b",
    "١",  # an Arabic digit
    "İ",
    "x" * 254,
]

SAFE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def key(row: tuple[Manifest, str]) -> str:
    return f"{row[0]['kind']}.{row[1]}"


@pytest.mark.parametrize("text", REFUSED, ids=ascii)
@pytest.mark.parametrize("field", FIELDS, ids=key)
def test_refused(field: tuple[Manifest, str], text: str) -> None:
    (problem,) = problems_of(edited(*field, text))
    assert problem.startswith(f"{field[1]}: ")
    assert problem.isprintable()
    assert len(problem) < 300


@given(st.sampled_from(FIELDS), st.text(min_size=1, max_size=10))
def test_whatever_is_accepted_is_safe(field: tuple[Manifest, str], text: str) -> None:
    assert bool(SAFE.fullmatch(text)) or problems_of(edited(*field, text)) != []


@given(st.text(min_size=1, max_size=10))
def test_names_of_services_are_dns_labels(text: str) -> None:
    label = re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", text)
    assert (problems_of(edited(SERVICE, "metadata.name", text)) == []) == bool(label)


LIMITS = [(66, SERVICE, "metadata.name"), (66, SLICE, "metadata.namespace")]
LIMITS += [(63, SERVICE, "spec.ports[0].name"), (253, NODE, "metadata.name")]


@pytest.mark.parametrize(("limit", "manifest", "path"), LIMITS)
def test_lengths(limit: int, manifest: Manifest, path: str) -> None:
    assert problems_of(edited(manifest, path, "x" * limit)) == []
    assert problems_of(edited(manifest, path, "x" * (limit + 1))) != []
