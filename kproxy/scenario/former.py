"""Leaves the rules of a former proxy on a node, beside those of the lab's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Self

from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import KubernetesObject
from kproxy.backend import Backend, BackendOptions, Delta, Mode, Plan, complete_options, load
from kproxy.errors import Unsupported
from kproxy.lab import Lab
from kproxy.scenario.form import LeftBehind


class Former:
    """The rules of a former proxy in a lab. A context manager: they are gone after the block."""

    def __init__(
        self, lab: Lab, mode: str, left: LeftBehind, objects: Iterable[KubernetesObject]
    ) -> None:
        """Take the mode of the lab, and the objects as they were when the former proxy ended."""
        self._lab, self._own = lab, load(mode)
        self._node, self._mode = left.node, load(left.mode)
        self._objects = tuple(objects)
        self._there = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.be_there(wanted=False)

    def be_there(self, *, wanted: bool) -> None:
        """Leave the rules behind, or clean them up. Nothing is done if it is so already.

        Raises what `Lab.replace` raises, Unsupported, KernelRefused.
        """
        if wanted and not self._there:
            self._there = True
            self._leave()
        elif self._there and not wanted:
            self._lab.remove_leftovers(self._node)
            self._there = False

    def _leave(self) -> None:
        """Write the rules before those of the lab's own proxy: the former one was there first."""
        lab, node = self._lab, self._node
        lab.replace(self._objects)
        plans = {family: lab.plans(family)[node] for family in lab.spec.families}
        lab.stop_proxy(node)
        try:
            with lab.nodes[node].namespace.entered(), ExitStack() as undo:
                for family in plans:
                    _opened(lab, self._own, family, self._own.options(), undo)[0].cleanup()
            with written(lab, node, self._mode, plans, self._mode.options()):
                pass  # it ends, and its rules stay
        finally:
            lab.start_proxy(node)


@contextmanager
def written(
    lab: Lab, node: str, mode: Mode, plans: Mapping[Family, Plan], options: BackendOptions
) -> Iterator[None]:
    """Write the rules of another mode on a node, in whose namespace the block is. They stay.

    `plans` are those of the node by family. Raises Unsupported, KernelRefused.
    """
    with lab.nodes[node].namespace.entered(), ExitStack() as undo:
        for family, plan in plans.items():
            backend, complete = _opened(lab, mode, family, options, undo)
            settings = replace(plan.settings, options=complete)
            backend.sync(replace(plan, settings=settings), Delta(full=True))
        yield


def _opened(
    lab: Lab, mode: Mode, family: Family, options: BackendOptions, undo: ExitStack
) -> tuple[Backend, BackendOptions]:
    """Return a backend and its complete options."""
    complete = complete_options(mode, lab.config, options)
    backend = mode.backend(family, complete)
    undo.callback(backend.close)
    support = backend.support()
    if not support.ok:
        raise Unsupported(f"mode {mode.name}: {support.missing}", remedy=support.remedy)
    return backend, complete
