"""The examples in the README run as they stand there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
PYTEST_EXAMPLE, LAB_EXAMPLE = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
)


def test_the_pytest_example(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    test_file = pytester.makepyfile(PYTEST_EXAMPLE)
    monkeypatch.chdir(ROOT)
    # In a process of its own: in this one, pytester would unload what the example imports, and C
    # extensions that are loaded twice (yaml) return objects of classes that nobody knows any more.
    pytester.runpytest_subprocess(test_file).assert_outcomes(passed=1)


def test_the_lab_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "example.py"
    script.write_text(LAB_EXAMPLE)
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(script))
    assert "web-a 10.244.1.11 fd00:10:244:1::11\n" in capsys.readouterr().out
