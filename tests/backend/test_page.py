"""docs/backends.md: what needs no root prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import kproxy.backend
from kproxy.backend import decode_options
from kproxy.testing.backend_contract import BackendContract

PAGE = (Path(__file__).parents[2] / "docs" / "backends.md").read_text()
MEMORY, OPTIONS, RENDER, _SUBJECT = re.findall(
    r"^```python\n(.*?)^```\n", PAGE, re.DOTALL | re.MULTILINE
)
(MANIFEST,) = re.findall(r"^```yaml\n(.*?)^```\n", PAGE, re.DOTALL | re.MULTILINE)


def test_what_needs_no_kernel_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "web.yaml").write_text(MANIFEST)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for snippet in (MEMORY, RENDER):
        exec(snippet, names)
        assert capsys.readouterr().out == printed_by(snippet)


def printed_by(snippet: str) -> str:
    """Return what the page says that a snippet prints."""
    (printed, *_) = re.findall(r"(?:^    .*\n)+", PAGE.partition(snippet)[2], re.MULTILINE)
    return re.sub("^    ", "", printed, flags=re.MULTILINE)


def test_the_options_are_decoded_and_refused() -> None:
    names: dict[str, Any] = {**vars(kproxy.backend), "MinimalBackend": kproxy.backend.Backend}
    exec(OPTIONS, names)
    mode = names["MODE"]
    options, problems = decode_options(mode, {"priority": "-90"}, "--backend-option")
    assert (options, problems) == (names["MinimalOptions"](priority=-90), [])
    _, problems = decode_options(mode, {"priority": "7"}, "--backend-option")
    assert "must be before the filter chains" in str(problems)


def test_the_tests_of_the_contract_are_counted() -> None:
    tests = [name for name in dir(BackendContract) if name.startswith("test_")]
    assert f"`BackendContract` has {len(tests)} tests" in PAGE
