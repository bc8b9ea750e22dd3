"""Packets of other programs on this machine, followed through its namespaces. Nothing is sent."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from itertools import chain, islice
from typing import NamedTuple, Self

from kproxy.address import Family
from kproxy.errors import KernelRefused, Unsupported
from kproxy.explain.conversation import Caught, Conversation, Met, asks, conversation
from kproxy.explain.observed import Observation, itinerary_of
from kproxy.explain.traces import TracedStep
from kproxy.explain.tracing import Traced
from kproxy.explain.ways import chains_of
from kproxy.kernel import legacy_tables
from kproxy.kernel.lacking import require_nf_tables
from kproxy.kernel.netns import Namespace
from kproxy.kernel.trace import LegacyMarks, Marks, PacketFilter, Trace, TraceStep
from kproxy.kernel.tracked import Entry, TrackedEvents
from kproxy.probe.foreign import Ends, Foreign, foreign, turned
from kproxy.probe.packets import Role
from kproxy.probe.taps import Tap, await_stamps

ANSWER_S = 0.8
"""How long an answer is waited for: less than until a SYN is sent again."""
_LATE_S = 5.0
"""How long, if packets come faster than they can be read."""
_PAUSE_S = 0.05
_MOST_READ = 2_000  # packets of a host, and changes of its connections, before other work
_MOST_AT_ONCE = 20
"""Requests that are followed at the same time; others that come meanwhile are passed over."""
_MOST_CAUGHT, _MOST_MET, _MOST_ENTRIES = 20_000, 20_000, 5_000
_WITH_KEYS = ("TCP", "SCTP")  # protocols whose answers have the key of the request


class Host(NamedTuple):
    """A watched namespace."""

    namespace: Namespace


class Watch:
    """Watches namespaces for packets, from creation to `close`. A context manager.

    Not thread-safe. What it adds to the namespaces also goes if this process is killed.
    """

    def __init__(self, namespaces: Mapping[str, Namespace], wanted: PacketFilter) -> None:
        """Begin. The first namespace is the node's. Raises Unsupported without the privilege, or if
        this kernel cannot do it at all.

        `problems` says what cannot be observed, a line for each.
        """
        self.hosts = {name: Host(namespace) for name, namespace in namespaces.items()}
        self.problems: list[str] = []
        self._chains = chains_of(None)
        self._wanted = wanted
        self._open = ExitStack()
        self._taps: list[Tap] = []
        self._traces: dict[str, list[Trace]] = {}
        self._ruled: set[str] = set()
        self._tracked: dict[str, TrackedEvents] = {}
        self._caught: deque[Caught] = deque(maxlen=_MOST_CAUGHT)
        self._met: deque[Met] = deque(maxlen=_MOST_MET)
        self._unnoticed: list[Foreign] = []
        self._behind = False
        self._entries: dict[str, deque[Entry]] = {}
        self._by: dict[tuple[str, TraceStep], Trace] = {}
        self._lost = 0
        self._begun: dict[tuple[object, ...], float] = {}
        self._finished: set[tuple[object, ...]] = set()
        self._known: set[tuple[str, Ends]] = set()
        # By conntrack, of what is wanted: taps see only these ends of what a host itself sends.
        self._translated: set[tuple[str, Ends]] = set()
        with ExitStack() as undo:
            undo.callback(self.close)
            for name, host in self.hosts.items():
                self._tap(name, host.namespace)
            await_stamps()
            for tap in self._taps:
                tap.discard()
            for name, host in self.hosts.items():
                self._begin(name, host.namespace)
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._open.close()

    def packets(self, count: int, time_s: float) -> Iterator[Traced]:
        """Yield so many packets, each when it has been answered or `ANSWER_S` have passed.

        Fewer if the time ends before. Raises KernelRefused if steps were lost.
        """
        deadline = time.monotonic() + time_s
        left = count
        while left and (time.monotonic() < deadline or self._begun):
            if not self._behind:
                time.sleep(_PAUSE_S)  # to wake for each packet would take far more time
            self._read()
            if time.monotonic() < deadline:
                self._notice(min(left, _MOST_AT_ONCE))
            for key in [*self._begun][:left]:
                found = self._concluded(key)
                if found:
                    left -= 1
                    yield found

    def _tap(self, name: str, namespace: Namespace) -> None:
        """Capture the packets of one namespace."""
        tap = Tap(name, namespace, datagrams="UDP" in self._wanted.protocols)
        self._open.callback(tap.close)
        self._taps.append(tap)

    def _begin(self, name: str, namespace: Namespace) -> None:
        """Trace the packets of one namespace, and the changes of its connections."""
        self._traces[name] = []
        with namespace.entered():
            try:
                if not self._trace(name):
                    return  # a pod, as a rule: it has no rules that could be traced
            except (Unsupported, KernelRefused) as error:
                remedy = f" ({error.remedy})" if error.remedy else ""
                self.problems.append(f"rules of {name}: {error}{remedy}")
            self._ruled.add(name)
            try:
                self._tracked[name] = self._open.enter_context(TrackedEvents())
                self._entries[name] = deque(maxlen=_MOST_ENTRIES)
            except Unsupported as error:
                self.problems.append(f"conntrack of {name}: {error}")

    def _trace(self, name: str) -> bool:
        """Trace the packets in the calling thread's namespace, and return whether it has rules.

        Raises Unsupported, KernelRefused.
        """
        families = self._wanted.families
        legacy = [family for family in families if legacy_tables.names(family)]
        traces, marked = self._traces[name], False
        if _has_nf_tables(families[0]):
            trace = self._open.enter_context(Trace.listen("nft"))
            if not legacy and not trace.hooks():
                return False
            traces.append(trace)
            try:
                self._open.enter_context(Marks(self._wanted))
                marked = True
            except Unsupported:  # before Linux 5.12
                if not legacy:
                    raise
        if legacy:
            traces.append(self._open.enter_context(Trace.listen("legacy")))
        if legacy and not marked:
            self._open.enter_context(LegacyMarks(self._wanted, legacy))
        return bool(traces)

    def _read(self) -> None:
        """Read all that was observed."""
        met: list[Foreign] = []
        self._behind = False
        for tap in self._taps:
            left = _MOST_READ
            for captured in islice(tap.read(), left):
                left -= 1
                if caught := Caught.from_tap(captured):
                    self._caught.append(caught)
                    self._unnoticed.append(caught.packet)
            self._behind |= not left
        for name, traces in self._traces.items():
            for trace in traces:
                for step in trace.read():
                    if packet := foreign(step.packet):
                        self._met.append(Met(name, step, packet))
                        met.append(packet)
                        self._by[name, step] = trace
        # The rules mark only some of very many packets: these have more to show.
        self._unnoticed = [*met, *self._unnoticed]
        again = False
        for name, events in self._tracked.items():
            for entry in events.read(_MOST_READ):
                self._entries[name].append(entry)
                if self._wanted.takes(*entry.original):
                    self._translated.add((entry.original.protocol, turned(entry.reply[1:])))
                    again = True
        if again:
            self._unnoticed = [each.packet for each in self._caught]
        if len(self._by) > 2 * _MOST_MET:
            kept = {(each.host, each.step) for each in self._met}
            self._by = {key: trace for key, trace in self._by.items() if key in kept}

    def _notice(self, most: int) -> None:
        """Begin the requests that are wanted and have not begun yet, but no more than so many."""
        now = time.monotonic()
        packets, self._unnoticed = self._unnoticed, []
        for packet in packets:
            if packet.role not in (Role.REQUEST, None) or packet.key in self._finished:
                continue
            if packet.key in self._begun or len(self._begun) >= most:
                continue
            translated = (packet.protocol, packet.ends) in self._translated
            if not translated and not self._wanted.takes(packet.protocol, *packet.ends):
                continue
            ends = {(packet.protocol, packet.ends), (packet.protocol, turned(packet.ends))}
            if ends & self._known:  # a later datagram of a connection
                continue
            self._begun[packet.key] = now
            self._known |= ends

    def _concluded(self, key: tuple[object, ...]) -> Traced | None:
        """Return a request that was answered, or whose time is over; else None."""
        found = self._conversation(key)
        if found is None:  # so many have come since that it is forgotten
            del self._begun[key]
            self._finished.add(key)
            return None
        patience = _LATE_S if self._behind else ANSWER_S
        if found.reply is None and time.monotonic() < self._begun[key] + patience:
            return None
        self._read()  # what was reported last may belong to it
        found = self._conversation(key) or found
        del self._begun[key]
        self._finished.add(key)
        self._known |= {(found.protocol, ends) for ends in found.ends}
        return itinerary_of(self._observation(found))

    def _conversation(self, key: tuple[object, ...]) -> Conversation | None:
        def may_belong(packet: Foreign) -> bool:
            """Tell it cheaply: there are thousands. Errors about some protocols have no key."""
            by_key = key[0] in _WITH_KEYS
            return packet.key in (key, ()) or (not by_key and packet.protocol == key[0])

        caught = [each for each in self._caught if may_belong(each.packet)]
        caught.sort(key=lambda each: each.time_ns)
        met = [each for each in self._met if may_belong(each.packet)]
        packets = chain((each.packet for each in caught), (each.packet for each in met))
        if not any(asks(packet, key) for packet in packets):
            return None
        return conversation(key, caught, met, self._entries, int(ANSWER_S * 1e9))

    def _observation(self, found: Conversation) -> Observation:
        met = {each.host for each in found.steps}
        self._lost += sum(tap.lost() for tap in self._taps)
        return Observation(
            conversation=found,
            hosts=self.hosts,
            hooks={host: self._hooks(host) for host in met},
            tracked=self._entries,
            ruled=frozenset(self._ruled),
            describe=self._describe,
            chains=self._chains,
            lost=self._lost,
        )

    def _hooks(self, host: str) -> dict[tuple[str, str, str], str]:
        found: dict[tuple[str, str, str], str] = {}
        for trace in reversed(self._traces[host]):
            found |= trace.hooks()
        return found

    def _describe(self, traced: TracedStep) -> str:
        return self._by[traced.host, traced.step].describe(traced.step)


def _has_nf_tables(family: Family) -> bool:
    with suppress(Unsupported):
        require_nf_tables(family)
        return True
    return False
