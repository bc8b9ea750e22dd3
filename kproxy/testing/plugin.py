"""The plugin that pytest loads in every run: two fixtures, explanations of failed comparisons, and
labs in the reports of tests that fail.

No other module of kproxy is imported until a test asks for a lab.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kproxy.testing.keeping import KeptLabs
    from kproxy.testing.lab import LabFactory

_FACTORIES: pytest.StashKey[dict[str, LabFactory]] = pytest.StashKey()  # by fixture
_KEPT: pytest.StashKey[KeptLabs] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("kproxy").addoption(
        "--kproxy-keep",
        action="store_true",
        help="Leave the labs of the first test that fails up after the summary, "
        "until `kproxy down` or Ctrl-C, and print how to enter them.",
    )


@pytest.fixture
def kproxy_lab(request: pytest.FixtureRequest) -> Iterator[LabFactory]:
    """Yield a function that builds labs (see `LabFactory`); they are removed after the test."""
    with _factory(request) as factory:
        yield factory


@pytest.fixture(scope="module")
def kproxy_module_lab(request: pytest.FixtureRequest) -> Iterator[LabFactory]:
    """Yield the same as `kproxy_lab`, for labs that all tests of a module share."""
    with _factory(request) as factory:
        yield factory


@contextmanager
def _factory(request: pytest.FixtureRequest) -> Iterator[LabFactory]:
    from kproxy.testing.lab import LabFactory

    name = str(request.fixturename)
    factories = request.config.stash.setdefault(_FACTORIES, {})
    with LabFactory() as factory:
        factories[name] = factory
        try:
            yield factory
        finally:
            del factories[name]


@pytest.hookimpl(wrapper=True, tryfirst=True)  # what is expected to fail is known by then
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    factories = item.config.stash.get(_FACTORIES, {})
    if report.failed and factories:
        used = set(getattr(item, "fixturenames", ()))
        found = [factory for name, factory in factories.items() if name in used]
        from kproxy.testing import keeping

        report.sections += keeping.sections(found)
        if item.config.getoption("--kproxy-keep") and keeping.refusal(item.config) is None:
            kept = item.config.stash.setdefault(_KEPT, keeping.KeptLabs())
            kept.keep(item.nodeid, found)
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if not config.getoption("--kproxy-keep"):
        return
    from kproxy.testing import keeping

    kept = config.stash.get(_KEPT, None)
    if lines := kept.lines() if kept else keeping.why_none(config):
        terminalreporter.section("kproxy: labs that are kept")
        for line in lines:
            terminalreporter.line(line)


def pytest_unconfigure(config: pytest.Config) -> None:
    if kept := config.stash.get(_KEPT, None):
        writer = config.get_terminal_writer()

        def say(line: str) -> None:
            writer.line(line)
            writer.flush()

        kept.await_end(say)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    # An answer can only have been compared if its module was imported.
    expectations = sys.modules.get("kproxy.testing.expectations")
    if expectations is None or op != "==":
        return None
    lines: list[str] | None = expectations.explain(left, right)
    return lines
