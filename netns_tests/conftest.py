"""For all tests in namespaces."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from kproxy.kernel.ipvs import has_ipvs

# What a test takes on user-mode Linux, where it is much more than a second.
_SECONDS = {
    "test_benchmarks.py": 20,
    "test_demo.py": 20,
    "test_edge_ipvs.py": 15,
    "test_plugins.py": 7,
    "test_random_services.py": 30,
    "test_scenarios.py": 20,
    "test_sequences.py": 30,
    "test_switching.py": 30,
}


@pytest.hookimpl(trylast=True)  # after -m and -k
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep one part of the tests, as KPROXY_TEST_PART says: `1/2` is the first of two.

    A part has whole files, so that what a file's tests share is built once. The parts take about as
    long as each other, by the tests that are asked for (`-m`, `-k`).
    """
    part, _, parts = os.environ.get("KPROXY_TEST_PART", "").partition("/")
    if not parts:
        return
    files: Counter[Path] = Counter()
    for item in items:
        files[item.path] += _SECONDS.get(item.path.name, 1)
    shares: list[list[Path]] = [[] for _ in range(int(parts))]
    sizes = [0] * int(parts)
    for path, count in sorted(files.items(), key=lambda each: (-each[1], each[0])):
        smallest = sizes.index(min(sizes))
        shares[smallest].append(path)
        sizes[smallest] += count
    kept = set(shares[int(part) - 1])
    config.hook.pytest_deselected(items=[item for item in items if item.path not in kept])
    items[:] = [item for item in items if item.path in kept]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("ipvs") and not has_ipvs():
        pytest.fail(
            "no ip_vs in this kernel; all tests: sudo scripts/test; this one: sudo "
            f"scripts/ipvs-kernel .venv/bin/python -m pytest '{item.nodeid}'",
            pytrace=False,
        )


@pytest.fixture(scope="session", autouse=True)
def _own_xtables_lock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A lock for the iptables commands of this process: the usual one is the whole machine's.

    With that, tests side by side (and whatever else runs here) would make each other
    wait in the legacy variant, and fail after 5 seconds.
    """
    with pytest.MonkeyPatch.context() as patch:
        lock = tmp_path_factory.mktemp("lock") / "xtables.lock"
        patch.setitem(os.environ, "XTABLES_LOCKFILE", str(lock))
        yield
