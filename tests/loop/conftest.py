from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from kproxy.loop.reactor import Reactor


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    with closing(Reactor("test")) as made:
        yield made
