"""A lab with Services and its page, for all tests of a module, and a browser for all modules."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple

import pytest

from netns_tests.ui.browser import Browser, Page, running
from netns_tests.up.machine import KPROXY, Machine, private_machine

SERVICES = ("examples/services/cluster-ip.yaml", "examples/services/external-local.yaml")


class Served(NamedTuple):
    """A lab's page. `address` has the token in its fragment."""

    machine: Machine
    address: str
    process: subprocess.Popen[str]

    @property
    def origin(self) -> str:
        return self.address.partition("/#")[0]

    @property
    def token(self) -> str:
        return self.address.partition("#token=")[2]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with private_machine() as machine:
        machine.ok("up", "examples/lab/services.yaml", "--name", "shop")
        for path in SERVICES:
            machine.ok("apply", "-f", path)
        with serving(machine) as found:
            yield found


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    with running() as found:
        yield found


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """Yield a browser without pages: one that stays open takes CPU time, as it follows its lab."""
    yield chromium
    chromium.close_pages()


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """Yield the page when it is live. It must have no errors until the end of the test."""
    found = open_live(browser, served)
    yield found
    assert found.faults() == []


@contextmanager
def serving(machine: Machine, errors: IO[str] | None = None) -> Iterator[Served]:
    """Serve the page of a machine's only lab while the block lasts; it writes `errors` there."""
    with subprocess.Popen(
        machine.argv(*KPROXY, "ui"), stdout=subprocess.PIPE, stderr=errors, text=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield Served(machine, process.stdout.readline().strip(), process)
        finally:
            process.terminate()


def open_live(
    browser: Browser, served: Served, *, width: int = 1280, height: int = 800, **media: str
) -> Page:
    """Open the page and wait until it shows the lab. `media`: features with `_` for `-`."""
    features = {name.replace("_", "-"): value for name, value in media.items()}
    found = browser.open(served.address, width=width, height=height, media=features)
    found.until("document.querySelector('.state.live') && document.querySelector('.service')")
    return found
