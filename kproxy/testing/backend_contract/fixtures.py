"""What the tests of the contract are given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from kproxy.address import Family
from kproxy.api.types import Service
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
    def later_plans(self, bench: Bench) -> Mapping[Family, Plan]:
        """Some service ports of `plans` changed, some were added, and some removed."""
        former, objects = objects_after(_EDITS), dict(objects_after(2 * _EDITS))
        for separator in (".", ":"):  # of either family
            removed = next(
                key
                for key, obj in objects.items()
                if key in former
                and isinstance(obj, Service)
                and any(separator in address for address in obj.spec.cluster_ips)
            )
            del objects[removed]
        return bench.plans(objects.values())
