"""For all tests in namespaces."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from kproxy.kernel.ipvs import has_ipvs


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
