"""Probes that other commands ask a lab's process to follow: the request `trace` and its answer."""

from __future__ import annotations

import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from kproxy.address import Family
from kproxy.errors import BadInput
from kproxy.explain.itinerary import Itinerary, from_values
from kproxy.explain.pcapng import Packet
from kproxy.explain.targets import Wanted
from kproxy.resident.control import Reply, ask
from kproxy.typed import converted

if TYPE_CHECKING:
    from kproxy.explain.tracing import Traced
    from kproxy.lab import Lab

MOST = 250
"""Probes of one request: the traces of more do not fit into the kernel's buffers."""
_TIMEOUT_S = 60.0


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request, besides its `do`."""

    source: str
    target: str
    protocol: str | None = None
    family: Family | None = None
    http: str | None = None
    count: int = 1
    packets: bool = False
    """The packets are wanted as well."""

    @property
    def wanted(self) -> Wanted:
        """Return the question of each probe."""
        return Wanted(
            source=self.source,
            target=self.target,
            protocol=self.protocol,
            family=self.family,
            http=self.http,
        )


class Tracing:
    """Answers the requests of one lab, one by one: a host can have one trace at a time."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._lock = threading.Lock()

    def answer(self, request: Mapping[str, Any]) -> Reply:
        """Answer a request of another command. Raises what `trace` raises."""
        try:
            values = {key: value for key, value in request.items() if key != "do"}
            asked = converted(values, Asked)
        except msgspec.ValidationError as error:
            raise BadInput([f"the request of a trace: {error}"]) from None
        found = self.trace(asked)
        return Reply(
            {
                "itineraries": [each.itinerary.values for each in found],
                "packets": [*_values(found[0].packets)] if asked.packets else [],
            }
        )

    def trace(self, asked: Asked) -> list[Traced]:
        """Send the probes and return what was seen of each. What they need is gone from the lab by
        then. May be called from any thread. Raises BadInput, Unsupported, KernelRefused.
        """
        from kproxy.explain.tracing import Tracer  # loaded with the first one: few labs need it
        from kproxy.resident.lean_scapy import load_scapy

        if not 1 <= asked.count <= MOST:
            raise BadInput([f"{asked.count} probes: 1 to {MOST} can be traced at once"])
        wanted = asked.wanted
        load_scapy()
        self._lab.catch_up()  # a probe meets the rules of what its user has just written
        with self._lock, Tracer(self._lab) as tracer:
            return tracer.trace(wanted, asked.count)


def ask_for_trace(place: Path, asked: Asked) -> tuple[list[Itinerary], list[Packet]]:
    """Have the lab at `place` send probes. Returns their itineraries, and packets of the first.

    Raises what `kproxy.resident.control.ask` raises.
    """
    request = {"do": "trace", **msgspec.to_builtins(asked)}
    values = ask(place, request, timeout_s=_TIMEOUT_S).values
    packets = [
        converted({**each, "data": b64decode(each["data"])}, Packet) for each in values["packets"]
    ]
    return [from_values(each) for each in values["itineraries"]], packets


def _values(packets: tuple[Packet, ...]) -> Iterator[dict[str, Any]]:
    for each in packets:
        yield {**msgspec.structs.asdict(each), "data": b64encode(each.data).decode()}
