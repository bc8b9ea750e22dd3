"""Traces of netfilter in many hosts of a lab at once, sorted by probe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Set
from contextlib import ExitStack
from typing import NamedTuple, Self

from kproxy.address import Family
from kproxy.kernel.iptables_programs import Variant
from kproxy.kernel.trace import Trace, TraceStep
from kproxy.lab import Lab
from kproxy.probe.packets import Role, sighting
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
        self._traces: dict[str, Trace] = {}
        self._stack = ExitStack()
        with self._stack:
            for name, host in hosts.items():
                with host.namespace.entered():
                    self._traces[name] = self._stack.enter_context(
                        Trace.start(variant, families=families)
                    )
            self._stack = self._stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def leave(self) -> None:
        """Do the same as `close`, for hosts that are about to go; see `Trace.leave`."""
        for trace in self._traces.values():
            trace.leave()

    def read(self, tags: Set[int]) -> Mapping[int, list[TracedStep]]:
        """Return the steps of these probes since the last call, in order on each host.

        Raises KernelRefused if the kernel had to drop steps.
        """
        found: defaultdict[int, list[TracedStep]] = defaultdict(list)
        for name, trace in self._traces.items():
            seen: dict[bytes, tuple[int, Role] | None] = {}
            for step in trace.read():
                if step.packet not in seen:
                    about = sighting(step.packet, tags)
                    seen[step.packet] = (about.tag, about.role) if about else None
                if about_probe := seen[step.packet]:
                    tag, role = about_probe
                    found[tag].append(TracedStep(name, role, step))
        return found

    def discard(self) -> None:
        """Discard all steps so far; see `Trace.discard`."""
        for trace in self._traces.values():
            trace.discard()

    def describe(self, traced: TracedStep) -> str:
        """Return the rule as iptables-save or nft prints it; see `Trace.describe`."""
        return self._traces[traced.host].describe(traced.step)
