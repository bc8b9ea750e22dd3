"""Traces of netfilter in many hosts of a lab at once, sorted by probe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Set
from functools import partial
from typing import NamedTuple, Self

from kproxy.address import Family
from kproxy.kernel.at_once import at_once
from kproxy.kernel.iptables_programs import Variant
from kproxy.kernel.trace import Trace, TraceStep
from kproxy.lab import Lab
from kproxy.probe.packets import Role, Sighting, sighting
from kproxy.probe.taps import HasNamespace


def deciding(lab: Lab) -> dict[str, HasNamespace]:
    """Return the hosts with rules, which decide; pods and clients only send and receive."""
    return {
        name: host
        for name, host in lab.hosts.items()
        if name not in lab.clients and name not in lab.pods
    }


class TracedStep(NamedTuple):
    """A step of a probe's packet on `host`."""

    host: str
    role: Role
    step: TraceStep
    sighting: Sighting | None = None
    """The packet as it entered the hook; in the legacy variant, before the rule."""


class Traces:
    """Traces of several hosts, from creation to `close`. A context manager. Not thread-safe."""

    def __init__(
        self,
        hosts: Mapping[str, HasNamespace],
        variant: Variant,
        *,
        families: Collection[Family] = tuple(Family),
    ) -> None:
        """Start the traces of packets of these families. Raises Unsupported if this kernel cannot
        trace.
        """

        def start(host: HasNamespace) -> Trace:
            with host.namespace.entered():
                return Trace.start(variant, families=families)

        actions = [partial(start, host) for host in hosts.values()]
        self._traces = dict(zip(hosts, at_once(actions, Trace.close), strict=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        at_once([each.close for each in self._traces.values()], lambda _: None)

    def leave(self) -> None:
        """Do the same as `close`, for hosts that are about to go; see `Trace.leave`."""
        for trace in self._traces.values():
            trace.leave()

    def read(self, tags: Set[int]) -> Mapping[int, list[TracedStep]]:
        """Return the steps of these probes since the last call, in order on each host.

        Raises KernelRefused if the kernel had to drop steps.
        """
        found: defaultdict[int, list[TracedStep]] = defaultdict(list)
        seen: dict[bytes, Sighting | None] = {}
        for name, step in self.read_all():
            if step.packet not in seen:
                seen[step.packet] = sighting(step.packet, tags)
            if about := seen[step.packet]:
                found[about.tag].append(TracedStep(name, about.role, step, about))
        return found

    def read_all(self) -> Iterator[tuple[str, TraceStep]]:
        """Yield the steps of all packets since the last call, each with its host."""
        for name, trace in self._traces.items():
            for step in trace.read():
                yield name, step

    def discard(self) -> None:
        """Discard all steps so far; see `Trace.discard`."""
        for trace in self._traces.values():
            trace.discard()

    def hooks(self, host: str) -> Mapping[tuple[str, str, str], str]:
        """Return the hooks of a host's base chains; see `Trace.hooks`."""
        return self._traces[host].hooks()

    def describe(self, traced: TracedStep) -> str:
        """Return the rule as iptables-save or nft prints it; see `Trace.describe`."""
        return self._traces[traced.host].describe(traced.step)
