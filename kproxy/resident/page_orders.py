"""Requests of a lab's page to the lab's process, answered over the control socket.

follow   the lab's hosts, then every write, a line of JSON each
measure  the matrix, row by row
policy   a field of a Service's spec, changed
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from queue import Empty
from typing import Any

import msgspec

from kproxy.errors import BadInput, KproxyError
from kproxy.lab import Lab
from kproxy.resident.control import Handler, Reply
from kproxy.ui.policies import POLICIES
from kproxy.ui.telling import Telling, fixed_hosts, pods_are_on

_ALIVE_S = 5.0  # between lines: how soon a listener that has gone is forgotten


class PageOrders:
    """Answers the page of one lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._telling = Telling(lab.follow)
        self._measuring = threading.Lock()  # one at a time

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Return what they answer, by the name of the request."""
        return {
            "follow": self._follow,
            "measure": self._measure,
            "policy": self._policy,
        }

    def _follow(self, _: Mapping[str, Any]) -> Reply:
        if not self._lab.spec.control_plane:
            raise BadInput(["this lab has no control plane whose objects could be shown"])
        return Reply({}, then=_carrying(self._lines))

    def _lines(self) -> Iterator[Any]:
        with self._telling.listen() as (documents, told):
            yield {"hosts": fixed_hosts(self._lab), "podsOn": pods_are_on(self._lab)}
            yield {"documents": documents}
            while not told.lost:
                try:
                    write = told.writes.get(timeout=_ALIVE_S)
                except Empty:
                    yield {}
                    continue
                yield {"key": write.key, "document": write.document}

    def _measure(self, _: Mapping[str, Any]) -> Reply:
        def lines() -> Iterator[Any]:
            from kproxy.ui.measuring import measure

            with self._measuring:
                yield from measure(self._lab)

        return Reply({}, then=_carrying(lines))

    def _policy(self, request: Mapping[str, Any]) -> Reply:
        field, value = request.get("field"), request.get("value")
        if field not in POLICIES or value not in POLICIES[field]:
            raise BadInput([f"no policy is {field!r} with {value!r}"])
        namespace, _, name = str(request.get("service")).partition("/")
        document = self._lab.plane.get(("Service", namespace, name))
        if document is None:
            raise BadInput([f"there is no Service {request.get('service')!r}"])
        changed = deepcopy(document)
        if value:
            changed["spec"][field] = value
        else:
            changed["spec"].pop(field, None)
        self._lab.plane.update(changed)
        return Reply({})


def _carrying(lines: Callable[[], Iterable[Any]]) -> Callable[[socket.socket], None]:
    """Return what sends lines of JSON over a connection, until they end or nobody reads them."""

    def carry(connection: socket.socket) -> None:
        def send(values: Any) -> None:
            connection.sendall(msgspec.json.encode(values) + b"\n")

        with suppress(BrokenPipeError, ConnectionResetError):
            if not connection.recv(1):  # whoever asks says when to begin (`Reply.then`)
                return
            try:
                for each in lines():
                    send(each)
            except KproxyError as error:
                send({"error": str(error)})

    return carry
