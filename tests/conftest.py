"""For all pure tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.left_open import pytest_runtest_teardown
from tests.warm_kproxy import end_forking

__all__ = ["pytest_runtest_teardown"]

# How long an example may take says nothing but how busy the machine is.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Nothing that is collected is garbage; to look for some takes a quarter of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have what libraries leave among the temporary files go with the other files of tests.

    A client library of Kubernetes removes some of its own when Python ends, which workers of
    pytest-xdist skip, and some never.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield


def pytest_unconfigure() -> None:
    end_forking()
