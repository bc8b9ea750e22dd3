"""The Python of README and docs runs as it stands there, where kproxy was installed by pip."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from netns_tests.installed.conftest import environment, wheel
from netns_tests.installed.environment import ROOT, Environment

__all__ = ["environment", "wheel"]


def python(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


CONTROL_PLANE_EXAMPLE, PYTEST_EXAMPLE, LAB_EXAMPLE = python("README.md")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder, with nothing of the checkout in it."""
    assert not os.listdir(tmp_path)
    return tmp_path


def printed_by(example: str, environment: Environment, folder: Path) -> str:
    (folder / "example.py").write_text(example)
    done = environment.run("python", "example.py", cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_pytest_example(environment: Environment, folder: Path) -> None:
    (folder / "test_mine.py").write_text(PYTEST_EXAMPLE)
    done = environment.run("pytest", "-q", "test_mine.py", cwd=folder)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_lab_example(environment: Environment, folder: Path) -> None:
    printed = printed_by(LAB_EXAMPLE, environment, folder)
    assert "web-a 10.244.1.11 fd00:10:244:1::11\n" in printed


def test_the_control_plane_example(environment: Environment, folder: Path) -> None:
    address, answer, *_ = printed_by(CONTROL_PLANE_EXAMPLE, environment, folder).splitlines()
    assert address.startswith("10.96.")
    assert re.search(r'"pod": "web-[12]", "source": "10\.244\.3\.11"', answer)


def test_the_example_of_the_control_plane_page(environment: Environment, folder: Path) -> None:
    (example,) = python("docs/control-plane.md")
    created, answered, *_ = printed_by(example, environment, folder).splitlines()
    assert created.endswith("web-1 web-2")
    assert re.search(r"^\['10\.96\..*\] {\"pod\": \"web-[12]\"", answered)


def test_the_example_of_the_page_about_probes(environment: Environment, folder: Path) -> None:
    (example,) = python("docs/probes.md")
    printed = printed_by(example, environment, folder).splitlines()
    assert printed[0].startswith("delivered to web-")
    assert "answered and saw 10.244.3.12" in printed[1]
    assert printed[2] == "()"


def test_the_example_of_the_page_about_ingress(environment: Environment, folder: Path) -> None:
    (example,) = python("docs/ingress.md")
    printed = printed_by(example, environment, folder).splitlines()
    assert printed[0].endswith("answered with 200 and saw 10.244.1.13, on behalf of 10.244.3.12")
    assert [line.split("-> ")[1] for line in printed[-2:]] == [
        "answered with 503",
        "answered with 404",
    ]
