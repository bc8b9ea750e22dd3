"""How deep a JSON text is."""

from __future__ import annotations

import pytest

from kproxy.api.depth import MAX_DEPTH, is_deep


@pytest.mark.parametrize("level", ['{"a":', "["])
def test_levels_are_counted(level: str) -> None:
    closing = "}" if level[0] == "{" else "]"
    assert not is_deep(level * MAX_DEPTH + "1" + closing * MAX_DEPTH)
    assert is_deep(level * (MAX_DEPTH + 1) + "1" + closing * (MAX_DEPTH + 1))


@pytest.mark.parametrize("text", ["[" * 200, '\\"' + "[" * 200, "\\\\", "\ud800"])
def test_what_is_in_a_string_is_no_level(text: str) -> None:
    """Also half of a character, which JSON may have as \\ud800 and no encoding has."""
    assert not is_deep(f'{{"a": "{text}"}}')
