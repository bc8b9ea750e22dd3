"""The examples in the README run as they stand there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
CONTROL_PLANE_EXAMPLE, PYTEST_EXAMPLE, LAB_EXAMPLE = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
)


def test_the_pytest_example(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    test_file = pytester.makepyfile(PYTEST_EXAMPLE)
    monkeypatch.chdir(ROOT)
    # In a process of its own: in this one, pytester would unload what the example imports, and C
    # extensions that are loaded twice (yaml) return objects of classes that nobody knows any more.
    pytester.runpytest_subprocess(test_file).assert_outcomes(passed=1)


def printed_by(
    example: str, tmp_path: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    script = tmp_path / "example.py"
    script.write_text(example)
    patch.chdir(ROOT)
    runpy.run_path(str(script))
    return capsys.readouterr().out


def test_the_lab_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = printed_by(LAB_EXAMPLE, tmp_path, monkeypatch, capsys)
    assert "web-a 10.244.1.11 fd00:10:244:1::11\n" in printed


def test_the_control_plane_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address, answer, *_ = printed_by(
        CONTROL_PLANE_EXAMPLE, tmp_path, monkeypatch, capsys
    ).splitlines()
    assert address.startswith("10.96.")
    assert re.search(r'"pod": "web-[12]", "source": "10\.244\.3\.11"', answer)


def test_the_example_of_the_control_plane_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs/control-plane.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    created, answered, *_ = printed_by(example, tmp_path, monkeypatch, capsys).splitlines()
    assert created.endswith("web-1 web-2")
    assert re.search(r"^\['10\.96\..*\] {\"pod\": \"web-[12]\"", answered)
