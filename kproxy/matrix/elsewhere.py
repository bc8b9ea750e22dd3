"""Measures settings that need IPVS on user-mode Linux, where the running kernel has none.

python -m kproxy.matrix.elsewhere REQUEST    # JSON in, JSON out; runs in the guest
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from msgspec import Struct

from kproxy.backend import load
from kproxy.kernel.measurement import answer, measure_apart
from kproxy.lab.other_proxies import OtherProxies
from kproxy.matrix.measure import Cell, measure, measure_alike
from kproxy.matrix.places import Kind
from kproxy.matrix.setting import Setting, alike

Measurements = dict[Setting, list[Cell]]

_Pairs = list[tuple[Setting, list[Cell]]]
_MODULE = "kproxy.matrix.elsewhere"
_TIMEOUT_S = 600


class _Request(Struct, frozen=True):
    settings: tuple[Setting, ...]
    kinds: tuple[Kind, ...]
    protocols: tuple[str, ...]


def measure_all(
    settings: Iterable[Setting],
    kinds: Collection[Kind] = tuple(Kind),
    protocols: Sequence[str] = ("TCP", "UDP"),
    *,
    tell: Callable[[str], None] = lambda _: None,
    others: OtherProxies | None = None,
) -> Measurements:
    """Measure each setting on a kernel that supports it; both kernels work at the same time. With
    `others`, these proxies run on the nodes, and on this kernel.

    `tell` is called with progress messages. Raises what `measure` raises, and KernelRefused with
    the error of the other kernel if that fails.
    """
    wanted = list(dict.fromkeys(settings))
    if others:
        found: Measurements = {}
        for setting in wanted:
            tell(str(setting))
            found[setting] = measure(setting, kinds, protocols, others=others)
        return found
    there = [each for each in wanted if load(each.mode).lacks_kernel()]
    with unawaited(ThreadPoolExecutor(1)) as pool:
        elsewhere: Future[Measurements] | None = None
        if there:
            request = _Request(tuple(there), tuple(kinds), tuple(protocols))
            tell(f"on user-mode Linux: {', '.join(map(str, there))}")
            elsewhere = pool.submit(_measure_there, request)
        found = {}
        for group in alike(each for each in wanted if each not in there):
            tell(", ".join(map(str, group)))
            found |= measure_alike(group, kinds, protocols)
        if elsewhere:
            tell("waiting for user-mode Linux")
            found |= elsewhere.result()
    return {each: found[each] for each in wanted}


@contextmanager
def unawaited(pool: ThreadPoolExecutor) -> Iterator[ThreadPoolExecutor]:
    """End the pool after the block. Its tasks are done then, unless the block fails: minutes of
    measuring do not hold up an error or Ctrl-C.
    """
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _measure_there(request: _Request) -> Measurements:
    pairs = measure_apart(_MODULE, request, _Pairs, on_uml=True, timeout_s=_TIMEOUT_S)
    return dict(pairs)


def _be_there(request: _Request) -> _Pairs:
    return [
        pair
        for group in alike(request.settings)
        for pair in measure_alike(group, request.kinds, request.protocols).items()
    ]


if __name__ == "__main__":
    answer(_be_there, _Request)
