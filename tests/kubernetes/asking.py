"""Asks a server once, or learns why that is not possible."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from kproxy.errors import Unreachable
from kproxy.kubernetes.connection import Connection
from tests.kubernetes.api_server import Request, answer
from tests.kubernetes.kubeconfigs import said

Connect = Callable[..., Connection]


def greet(_request: Request) -> Iterable[bytes]:
    return answer(b'{"kind": "Status"}', Retry_After="3")


def ask(connection: Connection, timeout_s: float = 30) -> int:
    return connection.get("/version", {}, timeout_s=timeout_s).status


def unreachable(connection: Connection, timeout_s: float = 30) -> str:
    with pytest.raises(Unreachable) as caught:
        ask(connection, timeout_s)
    return said(caught.value)
