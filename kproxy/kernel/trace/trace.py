"""The trace of one namespace, in nf_tables or in legacy tables."""

from __future__ import annotations

from collections.abc import Collection
from typing import Self

from kproxy.address import Family
from kproxy.kernel.iptables_programs import Variant
from kproxy.kernel.netns import Namespace
from kproxy.kernel.trace.legacy import LegacyTrace
from kproxy.kernel.trace.nf_tables import NfTablesTrace
from kproxy.kernel.trace.steps import TraceStep

BUFFER_BYTES = 32 << 20  # more than twenty thousand steps; the kernel takes only what they need


class Trace:
    """The steps of all packets in one namespace, from `start` to `close`. A context manager.

    Its methods may be called from any namespace. Not thread-safe. It keeps the namespace alive.
    """

    def __init__(self, namespace: Namespace, way: NfTablesTrace | LegacyTrace) -> None:
        """Take over both arguments. Use `start` instead."""
        self._namespace = namespace
        self._way = way
        self._open = True

    @classmethod
    def start(
        cls,
        variant: Variant,
        *,
        families: Collection[Family] = tuple(Family),
        buffer_bytes: int = BUFFER_BYTES,
    ) -> Self:
        """Trace the packets in the namespace of the calling thread from now on.

        `variant`: `nft` to trace the tables of nf_tables (iptables' nft variant and nftables),
        `legacy` for those of legacy iptables. One trace at a time for each. `families`: of the
        packets.
        `buffer_bytes`: room for steps that were not read yet, up to 1500 bytes each.
        Raises Unsupported if this kernel or the privilege does not allow it.
        """
        return cls._start(variant, families, buffer_bytes, marking=True)

    @classmethod
    def listen(cls, variant: Variant, *, buffer_bytes: int = BUFFER_BYTES) -> Self:
        """Do the same as `start`, without marking packets: only those that `Marks` has marked, in
        this namespace, are traced. The first steps of each are those in its table, which begins
        with `TABLE`. Raises Unsupported.
        """
        return cls._start(variant, tuple(Family), buffer_bytes, marking=False)

    @classmethod
    def _start(
        cls, variant: Variant, families: Collection[Family], buffer_bytes: int, *, marking: bool
    ) -> Self:
        namespace = Namespace.current()
        try:
            kind = NfTablesTrace if variant == "nft" else LegacyTrace
            way = kind(families, buffer_bytes, marking=marking)
        except BaseException:
            namespace.close()
            raise
        return cls(namespace, way)

    def read(self) -> list[TraceStep]:
        """Return the steps since the last call, in order. Never waits for packets.

        Raises KernelRefused if steps were lost because too many waited; later calls are fine.
        """
        with self._namespace.entered():
            return self._way.read()

    def discard(self) -> None:
        """Discard the steps since the last call of `read`, which takes less time than to read them.

        Of a packet that is on its way, the next `read` may not return all steps.
        """
        self._way.discard()

    def describe(self, step: TraceStep) -> str:
        """Return the rule as its tool prints it: iptables-save, or nft for rules not of iptables.

        A policy is printed as by `iptables -S` or nft; "" for the end of a chain, and for a rule
        that was deleted. Tables are read once after each `read`: ask before the rules change.
        """
        with self._namespace.entered():
            return "" if step.kind == "return" else self._way.describe(step)

    def hooks(self) -> dict[tuple[str, str, str], str]:
        """Return the hook of each base chain, by family (as in `TraceStep`), table and chain:
        prerouting, input, forward, output or postrouting.
        """
        with self._namespace.entered():
            return self._way.hooks()

    def close(self) -> None:
        """Remove all that `start` has made. An empty legacy table `raw` cannot be removed."""
        if self._open:
            self._open = False
            with self._namespace.entered():
                self._way.close()
            self._namespace.close()

    def leave(self) -> None:
        """Do the same as `close`, for a namespace that is about to go: what `start` has made stays
        in it.
        """
        if self._open:
            self._open = False
            self._way.leave()
            self._namespace.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
