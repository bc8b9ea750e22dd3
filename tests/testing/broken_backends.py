"""Memory backends with one defect each, and the tests of the contract that must notice it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import ClassVar

from msgspec.structs import replace

from kproxy.address import Family
from kproxy.backend import BackendOptions, Delta, NodeSettings, Plan, Ruleset, SyncReport, Uses
from kproxy.errors import KernelRefused
from kproxy.testing import MemoryBackend, MemoryKernel
from kproxy.testing.backend_contract import Subject
from kproxy.testing.memory_backend import TABLE, Chains
from tests.testing.memory_subject import memory_subject


class WritesWhenMade(MemoryBackend):
    def __init__(self, family: Family, options: BackendOptions, kernel: MemoryKernel) -> None:
        super().__init__(family, options, kernel)
        kernel.tables[family]["mine too"] = {}


class LooksWhenMade(MemoryBackend):
    """It uses the kernel of the namespace in which it was constructed."""

    def __init__(self, family: Family, options: BackendOptions, kernel: MemoryKernel) -> None:
        super().__init__(family, options, kernel)
        self._tables = kernel.tables

    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        here, self.kernel.tables = self.kernel.tables, self._tables
        try:
            return super().sync(plan, delta)
        finally:
            self.kernel.tables = here


class PreparesLate(MemoryBackend):
    def prepare(self, _settings: NodeSettings, /) -> None:
        if self._plan is None:
            raise KernelRefused("there are no rules yet")


class ForgetsRemovals(MemoryBackend):
    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        before = dict(self.chains)
        report = super().sync(plan, delta)
        if not delta.full:
            self.chains.update({name: before[name] for name in before.keys() - self.chains.keys()})
        return report

    @property
    def chains(self) -> Chains:
        return self.kernel.tables[self.family].get(TABLE, {})


class NeverFull(MemoryBackend):
    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        return replace(super().sync(plan, delta), full=False)


class TakesAnEmptyDeltaForAnEmptyPlan(MemoryBackend):
    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        if not delta:
            self.kernel.write(self.family, TABLE, {})
        return super().sync(plan, delta)


class ChangesThePlan(MemoryBackend):
    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        report = super().sync(replace(plan, services=dict(plan.services)), delta)
        assert isinstance(plan.services, dict)
        plan.services.clear()
        return report


class OfOneThread(MemoryBackend):
    def __init__(self, family: Family, options: BackendOptions, kernel: MemoryKernel) -> None:
        super().__init__(family, options, kernel)
        self._thread = threading.current_thread()  # the number of an ended thread is used again

    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        if threading.current_thread() is not self._thread:
            raise RuntimeError("made in another thread")
        return super().sync(plan, delta)


class ReadsItsOwnOnly(MemoryBackend):
    def read(self) -> Ruleset:
        return super().read() if self._plan else {}


class RemovesItsOwnOnly(MemoryBackend):
    def cleanup(self) -> None:
        if self._plan:
            super().cleanup()


class AddsToWhatItFinds(MemoryBackend):
    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        found = {} if self._plan else self.kernel.tables[self.family].get(TABLE, {})
        report = super().sync(plan, delta)
        self.kernel.tables[self.family][TABLE] = {**found, **self.kernel.tables[self.family][TABLE]}
        return report


class NoticesNothing(MemoryBackend):
    def intact(self) -> bool:
        return True


class RepairsNothing(MemoryBackend):
    """It does nothing if the plan is the last one again."""

    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        if plan == self._plan:
            self._written = dict(self.kernel.tables[self.family].get(TABLE, {}))
            return SyncReport(full=delta.full, transactions=0, rules_written={})
        return super().sync(plan, delta)

    def intact(self) -> bool:
        return self.kernel.tables[self.family].get(TABLE, {}) == self._written


class MindsOtherPeoplesBusiness(MemoryBackend):
    def intact(self) -> bool:
        return self.kernel.tables[self.family] == {TABLE: self._written}


class WritesByHalves(MemoryBackend):
    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        try:
            return super().sync(plan, delta)
        except KernelRefused:
            self.kernel.tables[self.family][TABLE].popitem()
            raise


class BelievesThatItHasWritten(MemoryBackend):
    """It takes a refused sync for a successful one."""

    failed = False

    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        if self.failed:
            self.failed = False
            return SyncReport(full=delta.full, transactions=0, rules_written={})
        try:
            return super().sync(plan, delta)
        except KernelRefused:
            self.failed = True
            raise


class LeavesATrace(MemoryBackend):
    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        self.kernel.tables[self.family]["trace"] = {}
        return super().sync(plan, delta)


class RemovesEverything(MemoryBackend):
    def cleanup(self) -> None:
        super().cleanup()
        self.kernel.flush(self.family)


class RemovesBothFamilies(MemoryBackend):
    def cleanup(self) -> None:
        super().cleanup()
        self.kernel.tables[self.family.other].pop(TABLE, None)


class ReadsWhatItRemembers(MemoryBackend):
    removed = False

    def cleanup(self) -> None:
        super().cleanup()
        self.removed = True

    def read(self) -> Ruleset:
        return {TABLE: self._written} if self.removed else super().read()


class ClosesOnce(MemoryBackend):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


class CleansWhenClosed(MemoryBackend):
    def close(self) -> None:
        self.cleanup()


class LeavesAThread(MemoryBackend):
    left: ClassVar[list[threading.Event]] = []

    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        self.left.append(threading.Event())
        threading.Thread(target=self.left[-1].wait, name="forwarder", daemon=True).start()
        return super().sync(plan, delta)


class LeavesADescriptor(MemoryBackend):
    left: ClassVar[list[int]] = []

    def sync(self, plan: Plan, delta: Delta, /) -> SyncReport:
        self.left.append(os.open("/proc/self/stat", os.O_RDONLY))
        return super().sync(plan, delta)


class BlindPredecessor(MemoryBackend):
    def uses(self) -> Uses:
        return Uses(mode="memory")

    def has_left(self, _successor: Uses, /) -> bool:
        return False

    def leave(self, _successor: Uses, /) -> bool:
        self.cleanup()
        return False


class UnsureOptions(BackendOptions, frozen=True, kw_only=True):
    size: int


BACKENDS: dict[type[MemoryBackend], set[str]] = {
    WritesWhenMade: {"test_making_and_asking_an_object_changes_nothing"},
    LooksWhenMade: {"test_an_object_may_be_made_elsewhere"},
    PreparesLate: {"test_an_object_that_has_never_synced_answers"},
    ForgetsRemovals: {"test_a_history_of_edits_ends_where_a_fresh_start_does"},
    NeverFull: {"test_a_full_sync_can_be_repeated"},
    TakesAnEmptyDeltaForAnEmptyPlan: {"test_an_empty_delta_changes_nothing"},
    ChangesThePlan: {  # the proxy's own plan is changed as well
        "test_a_plan_is_left_as_it_was_given",
        "test_a_history_of_edits_ends_where_a_fresh_start_does",
    },
    OfOneThread: {"test_any_thread_may_call"},
    ReadsItsOwnOnly: {
        "test_a_new_object_reads_what_a_dead_one_left",
        "test_an_object_may_be_made_elsewhere",
    },
    RemovesItsOwnOnly: {"test_a_new_object_removes_what_a_dead_one_left"},
    AddsToWhatItFinds: {"test_a_new_object_takes_over_from_a_dead_one"},
    NoticesNothing: {"test_damage_is_noticed"},
    RepairsNothing: {"test_damage_is_repaired_by_a_full_sync"},
    MindsOtherPeoplesBusiness: {"test_what_others_do_is_no_damage"},
    WritesByHalves: {"test_an_error_leaves_the_former_state"},
    BelievesThatItHasWritten: {"test_after_an_error_a_full_sync_makes_up_for_it"},
    LeavesATrace: {"test_cleanup_removes_every_trace_and_nothing_else"},
    RemovesEverything: {"test_cleanup_removes_every_trace_and_nothing_else"},
    RemovesBothFamilies: {"test_cleanup_of_one_family_leaves_the_other"},
    ReadsWhatItRemembers: {"test_nothing_is_read_after_cleanup"},
    ClosesOnce: {"test_close_can_be_repeated_and_leaves_the_kernel_as_it_is"},
    CleansWhenClosed: {  # nothing is left to be read
        "test_close_can_be_repeated_and_leaves_the_kernel_as_it_is",
        "test_a_new_object_reads_what_a_dead_one_left",
    },
    LeavesAThread: {"test_close_ends_threads_and_closes_descriptors"},
    LeavesADescriptor: {"test_close_ends_threads_and_closes_descriptors"},
    BlindPredecessor: {"test_another_mode_can_take_its_place"},
}


def renders_nothing(_plan: Plan, _addresses: frozenset[str]) -> Ruleset:
    return {TABLE: {}}


DAMAGE = {"test_damage_is_noticed", "test_damage_is_repaired_by_a_full_sync"}
FOREIGN = {
    "test_what_others_do_is_no_damage",
    "test_cleanup_removes_every_trace_and_nothing_else",
}
ERRORS = {
    "test_an_error_leaves_the_former_state",
    "test_after_an_error_a_full_sync_makes_up_for_it",
}
# What a subject lacks -> the subject, the tests that must fail, and their message.
SUBJECTS: dict[str, tuple[Callable[[], Subject], set[str], str]] = {
    "a mode of an older contract": (
        lambda: memory_subject(contract=0),
        {"test_the_mode_can_be_loaded"},
        "written for version 0 of the contract",
    ),
    "a rendering of nothing": (
        lambda: memory_subject(render=renders_nothing),
        {"test_what_is_rendered_is_what_a_full_sync_writes"},
        "Mode.render gives what read() returns",
    ),
    "options without a default": (
        lambda: replace(memory_subject(options=UnsureOptions), options=UnsureOptions(size=1)),
        {"test_options_have_defaults_and_are_refused_by_name"},
        "Missing required argument 'size'",
    ),
    "no sabotage": (
        lambda: replace(memory_subject(), sabotage=None),
        DAMAGE,
        "nothing was tested, for Subject.sabotage is not given",
    ),
    "nothing foreign": (
        lambda: replace(memory_subject(), foreign=None),
        FOREIGN,
        "nothing was tested, for Subject.foreign is not given",
    ),
    "no refusal": (
        lambda: replace(memory_subject(), refuse=None),
        ERRORS,
        "nothing was tested, for Subject.refuse is not given",
    ),
    "a refusal that refuses nothing": (
        lambda: replace(memory_subject(), refuse=lambda *_: nullcontext()),
        ERRORS,
        "Subject.refuse did not make sync() fail",
    ),
    "a sabotage that destroys nothing": (
        lambda: replace(memory_subject(), sabotage=lambda _: None),
        {"test_damage_is_noticed"},
        "it is True after Subject.sabotage",
    ),
    "a blind look": (
        lambda: replace(memory_subject(), look=lambda: ""),
        {"test_cleanup_removes_every_trace_and_nothing_else"},
        "Subject.look does not show what the backend writes",
    ),
}
