"""A reflector that keeps a store in step with a served collection, without any network."""

from __future__ import annotations

from kproxy.kubernetes.reflector import Phase, Received, Reflector
from kproxy.kubernetes.resources import SERVICES
from kproxy.kubernetes.stream import Rejection
from kproxy.store import Store
from tests.kubernetes.served import Answer, Json, Served, lines


class Copy:
    """A reflector, and the store that it keeps in step with a served collection."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.reflector = Reflector(SERVICES, chance=lambda: 0.5)
        self.store = Store()
        self.rejected: list[Rejection] = []
        self.queries: list[dict[str, str]] = []
        self.pauses: list[float] = []
        self.writes = 0
        self.now = 0.0

    @property
    def ports(self) -> dict[str, int]:
        """The port of each Service in the store."""
        found = (self.store.service(key) for key in self.store.services())
        return {each.metadata.name: each.spec.ports[0].port for each in found if each}

    def step(self, answer: Answer | None = None, chunk_bytes: int = 100_000) -> None:
        """Ask once, and take the answer of the collection, or the one given."""
        ask = self.reflector.ask(self.now)
        self.queries.append(dict(ask.query))
        self.pauses.append(ask.pause_s)
        self.now += ask.pause_s
        answer = answer or self.served.answer(ask.query)
        if answer.code != 200:
            self.reflector.refused(answer.code, answer.headers, answer.body)
        elif not ask.watch:
            self._take(self.reflector.page(answer.body))
        else:
            self.reflector.opened()
            for start in range(0, len(answer.body), chunk_bytes):
                self._take(self.reflector.took(answer.body[start : start + chunk_bytes]))
                if self.reflector.over:
                    return
            self.now += 300
            self.reflector.ended(self.now)

    def bring(self, *events: Json) -> None:
        self.step(Answer(200, lines(*events)))

    def _take(self, received: Received) -> None:
        self.store.apply(received.update)
        changes = self.store.take_changes()
        self.writes += len(changes.services)
        self.rejected += received.rejected


def watching(served: Served) -> Copy:
    copy = Copy(served)
    while copy.reflector.phase is not Phase.WATCH:
        copy.step()
    copy.queries.clear()
    copy.pauses.clear()
    copy.writes = 0
    return copy
