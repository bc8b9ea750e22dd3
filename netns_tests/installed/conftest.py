from __future__ import annotations

from pathlib import Path

import pytest

from netns_tests.installed.environment import Environment, build_wheel, make
from netns_tests.run.conftest import place, service

__all__ = ["place", "service"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    # Each of several workers has its own folder below a shared one.
    return build_wheel(base.parent if base.name.startswith("popen-") else base)


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Return an environment with kproxy as `pip install kproxy` leaves it."""
    return make(tmp_path_factory.mktemp("environment") / "venv", wheel)
