"""Objects that are made, asked from anywhere, closed, and followed by others."""

from __future__ import annotations

import gc
import threading
from collections.abc import Mapping

import pytest

from kproxy.address import Family
from kproxy.backend.contract import Predecessor, Uses
from kproxy.backend.options import decode_options, own_fields
from kproxy.backend.registry import problem_of
from kproxy.errors import KproxyError
from kproxy.forwarding.plan import Plan
from kproxy.testing.backend_contract.bench import (
    WRITTEN_FULL,
    Bench,
    Threads,
    copy,
)
from kproxy.testing.backend_contract.failures import (
    broken,
    descriptors,
    given,
    read_empty,
    same,
)
from kproxy.testing.backend_contract.fixtures import Fixtures
from kproxy.testing.backend_contract.subject import Subject

_how = pytest.mark.parametrize("closed", [True, False], ids=["closed", "killed"])


class Objects(Fixtures):
    """The life of an object, and what it leaves."""

    def test_the_mode_can_be_loaded(self, subject: Subject) -> None:
        if problem := problem_of(subject.mode.name, subject.mode):
            broken("a Mode must be such that kproxy can load it", f"it {problem}")

    def test_options_have_defaults_and_are_refused_by_name(self, subject: Subject) -> None:
        mode = subject.mode
        rule = "a mode's options have defaults, and what is no such option is refused by its name"
        try:
            mode.options()
        except Exception as error:
            broken(rule, f"{mode.options.__name__}() raised {type(error).__name__}: {error}")
        refused: dict[str, object] = {"noSuchOption": "1", **subject.refused_options}
        refused |= {info.encode_name: object() for info in own_fields(mode)}
        for name, value in refused.items():
            _, problems = decode_options(mode, {name: value}, "backendOptions")
            if not any(name in str(problem) for problem in problems):
                broken(rule, f"{name}={value!r} was not refused: {problems}")

    def test_making_and_asking_an_object_changes_nothing(self, bench: Bench) -> None:
        with bench.subject.place():  # one where nobody has asked anything
            before = bench.subject.look()
            for family in bench.subject.families:
                backend = bench.make(family)
                backend.support()
                backend.read()
                bench.close(backend)
            same("the factory, support() and read() change nothing", before, bench.subject.look())

    def test_an_object_that_has_never_synced_answers(
        self, bench: Bench, plans: Mapping[Family, Plan]
    ) -> None:
        for family in bench.subject.families:
            read_empty(
                "support(), prepare(), read() and cleanup() work on an object that has never "
                "synced; read() is empty where there is nothing",
                bench.make(family),
            )
            bench.make(family).support()
            bench.make(family).prepare(plans[family].settings)
            bench.make(family).cleanup()
            bench.close(bench.make(family))

    def test_an_object_may_be_made_elsewhere(
        self, bench: Bench, plans: Mapping[Family, Plan]
    ) -> None:
        with bench.subject.place():
            backends = bench.make_all()
        for family, backend in backends.items():
            backend.sync(copy(plans[family]), WRITTEN_FULL)
        # What a backend that forwards itself does is seen by nobody else.
        seen_by = backends if bench.subject.mode.forwards_itself else bench.make_all()
        here = bench.state(seen_by)
        same(
            "the constructor may run in another namespace than the methods: look at the kernel in "
            "a method",
            bench.fresh_state(plans),
            here,
        )

    def test_any_thread_may_call(self, bench: Bench, plans: Mapping[Family, Plan]) -> None:
        rule = "each call may come from another thread"
        for family in bench.subject.families:
            with Threads() as threads:
                backend = threads.call(bench.make, family)
                try:
                    threads.call(backend.support)
                    threads.call(backend.sync, copy(plans[family]), WRITTEN_FULL)
                    threads.call(backend.prepare, plans[family].settings)
                    intact = threads.call(backend.intact)
                    threads.call(backend.read)
                    threads.call(backend.cleanup)
                    threads.call(bench.close, backend)
                except KproxyError as error:
                    broken(rule, str(error), error)
            if not intact:
                broken(rule, "intact() was False")

    @_how
    def test_a_new_object_reads_what_a_dead_one_left(
        self, bench: Bench, plans: Mapping[Family, Plan], closed: bool
    ) -> None:
        bench.leave_behind(plans, closed=closed)
        found = bench.state(bench.make_all())
        if bench.subject.mode.forwards_itself:  # what is left of it is its own business
            return
        same(
            "read() on a new object finds what another one has left",
            bench.fresh_state(plans),
            found,
        )

    @_how
    def test_a_new_object_removes_what_a_dead_one_left(
        self, bench: Bench, plans: Mapping[Family, Plan], closed: bool
    ) -> None:
        bench.leave_behind(plans, closed=closed)
        for family in bench.subject.families:
            bench.make(family).cleanup()
            read_empty(
                "cleanup() on a new object removes what another one has left", bench.make(family)
            )

    @_how
    def test_a_new_object_takes_over_from_a_dead_one(
        self,
        bench: Bench,
        plans: Mapping[Family, Plan],
        later_plans: Mapping[Family, Plan],
        closed: bool,
    ) -> None:
        bench.leave_behind(plans, closed=closed)
        same(
            "the first sync of an object makes the kernel match the plan, whatever is there",
            bench.fresh_state(later_plans),
            bench.state(bench.filled(later_plans)),
        )

    def test_cleanup_removes_every_trace_and_nothing_else(
        self, bench: Bench, plans: Mapping[Family, Plan]
    ) -> None:
        look = bench.subject.look
        given(bench.subject.foreign, "foreign")()
        backends = bench.make_all()
        before = look()
        for family, backend in backends.items():
            backend.sync(copy(plans[family]), WRITTEN_FULL)
        if look() == before:
            pytest.fail("Subject.look does not show what the backend writes: give another one")
        for backend in backends.values():
            backend.cleanup()
        same("cleanup() removes every trace of this mode, and nothing else", before, look())

    def test_cleanup_of_one_family_leaves_the_other(
        self, bench: Bench, plans: Mapping[Family, Plan]
    ) -> None:
        backends = bench.filled(plans)
        if len(backends) == 1:  # `Subject.families` says that there is no other
            return
        first, second = backends
        before = bench.state({second: backends[second]})
        backends[first].cleanup()
        same(
            "a backend is one family's: its cleanup() leaves the other family in force",
            before,
            bench.state({second: backends[second]}),
        )

    def test_nothing_is_read_after_cleanup(
        self, bench: Bench, plans: Mapping[Family, Plan]
    ) -> None:
        for backend in bench.filled(plans).values():
            backend.cleanup()
            read_empty("read() is empty after cleanup()", backend)
            backend.cleanup()  # harmless where there is nothing
            read_empty("cleanup() can be repeated", backend)

    def test_close_can_be_repeated_and_leaves_the_kernel_as_it_is(
        self, bench: Bench, plans: Mapping[Family, Plan]
    ) -> None:
        backends = bench.filled(plans)
        before = bench.subject.look()
        for backend in backends.values():
            bench.forget(backend)
            backend.close()
            backend.close()
        if not bench.subject.mode.forwards_itself:  # then `close` ends the service
            same("close() leaves what is in the kernel", before, bench.subject.look())

    def test_close_ends_threads_and_closes_descriptors(
        self, bench: Bench, plans: Mapping[Family, Plan]
    ) -> None:
        rule = "close() ends the threads and closes the descriptors of an object"
        for opened_once in (True, False):  # by whatever the object uses, for all objects
            if not opened_once:
                gc.collect()  # what earlier tests have left in circles is not counted
            threads, open_before = set(threading.enumerate()), descriptors()
            for backend in bench.filled(plans).values():
                backend.intact()
                backend.read()
                bench.close(backend)
            del backend
            if opened_once:
                continue
            if started := set(threading.enumerate()) - threads:
                broken(rule, f"still alive: {', '.join(each.name for each in started)}")
            if left := descriptors().items() - open_before.items():
                broken(rule, f"still open: {', '.join(target for _, target in left)}")

    def test_another_mode_can_take_its_place(
        self, bench: Bench, plans: Mapping[Family, Plan]
    ) -> None:
        """Where the backend is a `Predecessor`. Of others `read` and `cleanup` are enough."""
        successor = Uses(mode="another")
        found = [bench.make(family) for family in bench.subject.families]
        if not isinstance(found[0], Predecessor):
            return
        predecessors = [each for each in found if isinstance(each, Predecessor)]
        if any(each.has_left(successor) for each in predecessors):
            broken("has_left() tells whether there is something to remove", "True on a new node")
        bench.leave_behind(plans, closed=True)
        if not all(each.has_left(successor) for each in predecessors):
            broken("has_left() finds what another object has left", "False")
        for each in predecessors:
            if each.leave(successor):
                pytest.fail("leave() keeps something for open connections, and there are none")
        if any(each.has_left(successor) for each in predecessors):
            broken("leave() removes all that the successor does not use", "it is still there")
