"""One lab that all tests of the package share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from netns_tests.streams.served_lab import SPDY, ServedLab, served


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedLab]:
    with served(tmp_path_factory.mktemp("streams")) as up:
        yield up


@pytest.fixture(params=[{}, SPDY], ids=["websocket", "spdy"])
def transport(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """Return the variables by which kubectl uses a WebSocket, or SPDY/3.1."""
    found: Mapping[str, str] = request.param
    return found
