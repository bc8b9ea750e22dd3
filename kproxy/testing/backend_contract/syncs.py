"""Syncs, damage and errors, and the state that each must leave."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from kproxy.address import Family
from kproxy.forwarding.plan import Delta, Plan
from kproxy.kernel.addresses import all_addresses
from kproxy.store import Store
from kproxy.testing.backend_contract.bench import (
    WRITTEN_FULL,
    Bench,
    copy,
    follow,
)
from kproxy.testing.backend_contract.failures import (
    broken,
    given,
    refused,
    reported,
    same,
)
from kproxy.testing.backend_contract.fixtures import Fixtures
from kproxy.testing.random_cluster import RandomCluster

_CHECKS = 4  # during a random history


class Syncs(Fixtures):
    """One object at work."""

    def test_an_empty_delta_changes_nothing(
        self, bench: Bench, plans: Mapping[Family, Plan]
    ) -> None:
        backends = bench.filled(plans)
        before = bench.state(backends)
        for family, backend in backends.items():
            reported(backend.sync(copy(plans[family]), Delta()))
        same(
            "the delta is empty where again_in_s has asked for a call; then the plan is as before",
            before,
            bench.state(backends),
        )

    @pytest.mark.parametrize("seed", [1, 2])
    def test_a_history_of_edits_ends_where_a_fresh_start_does(
        self, bench: Bench, seed: int
    ) -> None:
        cluster, store = RandomCluster(seed), Store()
        store.replace(cluster.objects.values())
        backends = bench.make_all()
        proxy = bench.proxy(store, backends)
        edits = bench.subject.edits
        for number in range(1, edits + 1):
            follow(cluster, store, proxy)
            if number % max(1, edits // _CHECKS) == 0:
                same(
                    "whatever happened before, the kernel holds what a fresh start writes; what "
                    "differs harmlessly is for Mode.comparable",
                    bench.fresh_state(proxy.plans),
                    bench.state(backends),
                    f"after edit {number} of history {seed}",
                )

    def test_a_full_sync_can_be_repeated(
        self, bench: Bench, plans: Mapping[Family, Plan], later_plans: Mapping[Family, Plan]
    ) -> None:
        backends = bench.filled(plans)
        for number in (2, 3, 4):
            wanted = plans if number == 2 else later_plans
            for family, backend in backends.items():
                report = backend.sync(copy(wanted[family]), WRITTEN_FULL)
                reported(report, full=True)
            same(
                "a full sync makes the kernel match the plan, whatever is there, and can be "
                "repeated",
                bench.fresh_state(wanted),
                bench.state(backends),
                f"after full sync {number}",
            )

    def test_what_is_rendered_is_what_a_full_sync_writes(
        self, bench: Bench, plans: Mapping[Family, Plan]
    ) -> None:
        mode = bench.subject.mode
        if mode.render is None:
            return  # a mode need not have it
        addresses = frozenset(all_addresses())
        rendered = {
            family.value: mode.comparable(mode.render(copy(plans[family]), addresses))
            for family in bench.subject.families
        }
        same(
            "Mode.render gives what read() returns after a full sync in a fresh namespace",
            rendered,
            bench.state(bench.filled(plans)),
        )

    def test_damage_is_noticed(self, bench: Bench, plans: Mapping[Family, Plan]) -> None:
        sabotage = given(bench.subject.sabotage, "sabotage")
        rule = "intact() tells whether what the last sync wrote is still there"
        backends = bench.filled(plans)
        for family, backend in backends.items():
            if not backend.intact():
                broken(rule, f"{family.value}: it is False right after the syncs")
        for family, backend in backends.items():
            sabotage(family)
            if backend.intact():
                broken(rule, f"{family.value}: it is True after Subject.sabotage")

    def test_damage_is_repaired_by_a_full_sync(
        self, bench: Bench, plans: Mapping[Family, Plan]
    ) -> None:
        sabotage = given(bench.subject.sabotage, "sabotage")
        rule = "a full sync assumes nothing of the kernel, so it repairs damage"
        backends = bench.filled(plans)
        before = bench.state(backends)
        for family, backend in backends.items():
            sabotage(family)
            backend.sync(copy(plans[family]), WRITTEN_FULL)
        same(rule, before, bench.state(backends))
        for family, backend in backends.items():
            if not backend.intact():
                broken(rule, f"{family.value}: intact() is False after the repair")

    def test_what_others_do_is_no_damage(self, bench: Bench, plans: Mapping[Family, Plan]) -> None:
        foreign = given(bench.subject.foreign, "foreign")
        rule = "intact() and read() are about what belongs to this mode"
        backends = bench.filled(plans)
        before = bench.state(backends)
        foreign()
        for family, backend in backends.items():
            if not backend.intact():
                broken(rule, f"{family.value}: intact() is False after Subject.foreign")
        same(rule, before, bench.state(backends))

    def test_an_error_leaves_the_former_state(
        self, bench: Bench, plans: Mapping[Family, Plan], later_plans: Mapping[Family, Plan]
    ) -> None:
        backends = bench.filled(plans)
        before = bench.state(backends)
        for family, backend in backends.items():
            refused(bench.subject, family, backend, plans[family], later_plans[family])
        same(
            "sync() does all of it or nothing: when it raises, the former state is in force",
            before,
            bench.state(backends),
        )

    def test_after_an_error_a_full_sync_makes_up_for_it(
        self, bench: Bench, plans: Mapping[Family, Plan], later_plans: Mapping[Family, Plan]
    ) -> None:
        backends = bench.filled(plans)
        for family, backend in backends.items():
            refused(bench.subject, family, backend, plans[family], later_plans[family])
            backend.sync(copy(later_plans[family]), WRITTEN_FULL)
        same(
            "the sync after an error is full, and nothing is assumed of the kernel",
            bench.fresh_state(later_plans),
            bench.state(backends),
        )

    def test_a_plan_is_left_as_it_was_given(
        self, bench: Bench, plans: Mapping[Family, Plan]
    ) -> None:
        for family in bench.subject.families:
            given = copy(plans[family])
            backend = bench.make(family)
            backend.sync(given, WRITTEN_FULL)
            backend.intact()
            same(
                "a plan is a value, for everybody who has it: it may be kept, and not changed",
                {str(name): str(each) for name, each in plans[family].services.items()},
                {str(name): str(each) for name, each in given.services.items()},
            )
