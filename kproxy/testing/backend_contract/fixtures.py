"""The fixtures of the contract tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from kproxy.address import Family
from kproxy.errors import Unsupported
from kproxy.forwarding.plan import Plan
from kproxy.testing.backend_contract.bench import Bench, objects_after
from kproxy.testing.backend_contract.subject import Subject

_EDITS = 40  # behind the plans of tests that look at one moment


class Fixtures:
    """The subject, its backends, and plans."""

    @pytest.fixture
    def subject(self) -> Subject:
        pytest.fail("a test class that inherits BackendContract must have a fixture `subject`")

    @pytest.fixture
    def bench(self, subject: Subject) -> Iterator[Bench]:
        try:
            with subject.place(), Bench(subject) as bench:
                for family, backend in bench.make_all().items():
                    support = backend.support()
                    bench.close(backend)
                    if not support.ok:
                        pytest.fail(
                            f"{family.value}: support() says that this mode cannot run here: "
                            f"{support.missing}; try: {support.remedy}"
                        )
                yield bench
        except Unsupported as error:
            pytest.fail(f"no node for the tests: {error}; try: {error.remedy}")

    @pytest.fixture
    def plans(self, bench: Bench) -> Mapping[Family, Plan]:
        return bench.plans(objects_after(_EDITS).values())

    @pytest.fixture
    def later_plans(self, bench: Bench, plans: Mapping[Family, Plan]) -> Mapping[Family, Plan]:
        """Some service ports of `plans` changed, some were added, and some removed.

        One of those that are removed has endpoints.
        """
        objects = dict(objects_after(2 * _EDITS))
        for plan in plans.values():
            removed = next(
                key
                for each in plan.services.values()
                if each.cluster and (key := ("Service", *each.name.service)) in objects
            )
            del objects[removed]
        return bench.plans(objects.values())
