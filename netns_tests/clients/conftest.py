"""One lab that all tests of the package share; each test has a namespace of its own."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from itertools import count

import pytest

from netns_tests.clients.served import Served, served

_numbers = count(1)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Clients leave sockets of theirs to the garbage collector, which warns of each."""
    item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))


@pytest.fixture(scope="module", autouse=True)
def _sockets() -> Iterator[None]:
    """Let the garbage collector close them here, not in a test of others."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("clients")) as up:
        yield up


@pytest.fixture
def namespace(lab: Served) -> str:
    """Return the name of a namespace that is new."""
    name = f"mine-{next(_numbers)}"
    lab.machine.ok("apply", "-f", _manifest(lab, name))
    return name


def _manifest(lab: Served, name: str) -> str:
    path = lab.kubeconfig.with_name(f"{name}.yaml")
    path.write_text(f"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n")
    return str(path)
