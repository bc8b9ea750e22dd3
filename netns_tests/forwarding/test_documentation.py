"""The examples in the documentation run as they are written."""

from __future__ import annotations

import os
import re
import runpy
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]


def code_blocks(document: str) -> list[str]:
    """Return the Python blocks of a file in docs/."""
    text = (ROOT / "docs" / document).read_text()
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_examples_of_the_testing_guide(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, web, api = code_blocks("testing.md")
    imports = "from kproxy.testing import delivered\n"
    pytester.makepyfile(test_shop=shop, test_web=web, test_api=imports + api)
    beside = Path(sys.executable).parent  # where kubectl is installed, too
    monkeypatch.setenv("PATH", f"{beside}:{os.environ['PATH']}")
    # In a process of its own: in this one, pytester would unload what the example imports, and
    # later tests would use classes whose modules are no longer in sys.modules.
    pytester.runpytest_subprocess().assert_outcomes(passed=8)


def test_the_example_of_node_ports_on_localhost(pytester: pytest.Pytester) -> None:
    (shop,) = code_blocks("modes.md")
    pytester.makepyfile(test_localhost=shop)
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_the_example_of_the_probes_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "example.py"
    script.write_text(code_blocks("probes.md")[0])
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(script))
    delivered, answered, problems, finding = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"delivered to web-[abc] from 10\.244\.3\.12", delivered)
    assert re.fullmatch(r"web-[abc] answered and saw 10\.244\.3\.12", answered)
    assert problems == "()"
    assert "problems=()" in finding
