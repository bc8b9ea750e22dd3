"""Asks name servers from several hosts of a lab at once: datagrams, and no more than needed."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from random import SystemRandom

import dns.exception
import dns.flags
import dns.message
from dns.rdatatype import RdataType

from kproxy.address import socket_family
from kproxy.doctor.facts import Resolved

_PORT = 53
_ANSWER_S = 1.0  # for all answers to one try
_TRIES = 2
_MOST_BYTES = 1 << 16
_random = SystemRandom()


class Questions:
    """The questions for the addresses of names that one host has for one name server.

    To be made by a thread in the host's namespace; the other methods may be called anywhere.
    """

    def __init__(self, host: str, server: str, names: Sequence[str]) -> None:
        self._host, self._server, self._names = host, server, tuple(dict.fromkeys(names))
        kinds = (RdataType.A, RdataType.AAAA)
        asked = [(name, kind) for name in self._names for kind in kinds]
        numbers = _random.sample(range(1 << 16), len(asked))
        self._waiting = dict(zip(numbers, asked, strict=True))
        self._answers: dict[str, set[str]] = {}
        self._problem = f"no answer within {_TRIES * _ANSWER_S:g} s"
        self._socket = socket.socket(socket_family(server), socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def open(self) -> bool:
        """Tell whether there are questions without an answer."""
        return bool(self._waiting)

    def send(self) -> bool:
        """Send all questions without an answer; return whether answers may come."""
        try:
            self._socket.connect((self._server, _PORT))
            for number, (name, kind) in self._waiting.items():
                self._socket.send(dns.message.make_query(name, kind, id=number).to_wire())
        except OSError as error:
            return self._failed(error)
        return self.open

    def receive(self) -> bool:
        """Take a datagram; return whether answers may still come."""
        try:
            found = dns.message.from_wire(self._socket.recv(_MOST_BYTES))
        except OSError as error:
            return self._failed(error)
        except dns.exception.DNSException:
            return True
        if found.flags & dns.flags.QR and found.id in self._waiting:
            name, kind = self._waiting.pop(found.id)
            for each in found.answer:
                if each.rdtype == kind:
                    self._answers.setdefault(name, set()).update(map(str, each))
        return self.open

    def results(self) -> Iterator[Resolved]:
        unanswered = {name for name, _ in self._waiting.values()}
        for name in self._names:
            known = name not in unanswered
            yield Resolved(
                host=self._host,
                nameserver=self._server,
                name=name,
                answers=frozenset(self._answers.get(name, ())) if known else None,
                problem="" if known else self._problem,
            )

    def close(self) -> None:
        self._socket.close()

    def _failed(self, error: OSError) -> bool:
        """Note a refusal (an ICMP error), or that no route leads there."""
        self._problem = (error.strerror or str(error)).lower()
        return False


def ask(questions: Iterable[Questions]) -> list[Resolved]:
    """Ask them all at once, again what is not answered in a second, and return the results."""
    questions = [*questions]
    for _ in range(_TRIES):
        coming = [each for each in questions if each.open and each.send()]
        end = time.monotonic() + _ANSWER_S
        while coming and (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select(coming, [], [], left)
            done = [each for each in ready if not each.receive()]
            coming = [each for each in coming if each not in done]
    return [found for each in questions for found in each.results()]
