"""Every test of the contract can fail: it notices a backend with the defect that it is about."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from kproxy.testing import MemoryBackend
from kproxy.testing.backend_contract import BackendContract, Subject
from tests.testing.broken_backends import BACKENDS, SUBJECTS, LeavesADescriptor, LeavesAThread
from tests.testing.memory_subject import memory_subject

pytest_plugins = ["pytester"]


@pytest.fixture(scope="module", autouse=True)
def little_garbage() -> Iterator[None]:
    """Keep what pytest has collected out of the 34 looks for garbage: half a second for each."""
    gc.freeze()
    yield
    gc.unfreeze()


class TestMemoryBackend(BackendContract):
    """The backend without a defect passes all tests."""

    @pytest.fixture
    def subject(self) -> Subject:
        return memory_subject()


def failures(pytester: pytest.Pytester, expression: str) -> dict[str, str]:
    """Run the contract tests of a subject. Returns the failed ones with their messages."""
    pytester.makepyfile(
        f"""
        import pytest
        from kproxy.testing.backend_contract import BackendContract
        from tests.testing.broken_backends import *
        from tests.testing.broken_backends import BACKENDS, SUBJECTS, memory_subject

        class TestContract(BackendContract):
            @pytest.fixture
            def subject(self):
                return {expression}
        """
    )
    reports = pytester.inline_run("-p", "no:cacheprovider").getreports("pytest_runtest_logreport")
    failed: dict[str, str] = {}
    for report in reports:
        if report.failed:
            assert report.when == "call"
            failed[report.location[2].rpartition(".")[2].partition("[")[0]] = report.longreprtext
    return failed


@pytest.mark.parametrize("broken", BACKENDS, ids=lambda broken: broken.__name__)
def test_a_defect_is_noticed_by_its_test_and_no_other(
    pytester: pytest.Pytester, broken: type[MemoryBackend]
) -> None:
    found = failures(pytester, f"memory_subject({broken.__name__})")
    while LeavesADescriptor.left:
        os.close(LeavesADescriptor.left.pop())
    while LeavesAThread.left:
        LeavesAThread.left.pop().set()
    assert found.keys() == BACKENDS[broken]


@pytest.mark.parametrize("lack", SUBJECTS)
def test_what_a_subject_lacks_is_told(pytester: pytest.Pytester, lack: str) -> None:
    _, tests, message = SUBJECTS[lack]
    found = failures(pytester, f"SUBJECTS[{lack!r}][0]()")
    assert found.keys() == tests
    assert all(message in text for text in found.values())


def test_each_test_of_the_contract_has_a_backend_that_fails_it() -> None:
    tests = {name for name in dir(BackendContract) if name.startswith("test_")}
    assert set().union(*BACKENDS.values(), *(names for _, names, _ in SUBJECTS.values())) == tests
