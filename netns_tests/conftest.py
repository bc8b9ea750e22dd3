"""For all tests in namespaces."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from kproxy.garbage import keep_for_good
from kproxy.kernel.ipvs import has_ipvs
from tests.conftest import (
    pytest_collection,
    pytest_runtest_teardown,
    pytest_unconfigure,
    temporary_files,
)

__all__ = [
    "pytest_collection",
    "pytest_runtest_teardown",
    "pytest_unconfigure",
    "temporary_files",
]  # also where these tests run alone

# The files with tests marked ipvs, and what those take on user-mode Linux, by measurement.
_SECONDS = {
    "bench/test_benchmarks.py": 10,
    "conformance/test_comparison.py": 2,
    "conformance/test_conformance.py": 15,
    "contract/test_contract.py": 9,
    "control_plane/test_allocation.py": 2,
    "control_plane/test_bad_input.py": 1,
    "control_plane/test_deployments.py": 11,
    "control_plane/test_documents.py": 9,
    "control_plane/test_labs.py": 14,
    "control_plane/test_plane.py": 6,
    "control_plane/test_readiness.py": 9,
    "control_plane/test_termination.py": 5,
    "control_plane/test_undeclared_ports.py": 1,
    "dns/test_names_in_pods.py": 7,
    "doctor/test_faults.py": 7,
    "edge/test_edge_ipvs.py": 1,
    "forwarding/test_addresses_on_the_link.py": 1,
    "forwarding/test_cluster_ip.py": 9,
    "forwarding/test_demo.py": 5,
    "forwarding/test_external_addresses.py": 1,
    "forwarding/test_many_connections.py": 8,
    "forwarding/test_node_port.py": 1,
    "forwarding/test_node_port_keywords.py": 1,
    "forwarding/test_random_services.py": 19,
    "forwarding/test_rivals.py": 1,
    "forwarding/test_saved_rules.py": 1,
    "forwarding/test_sctp.py": 2,
    "forwarding/test_udp_flows.py": 6,
    "iptables/test_legacy_writer.py": 1,
    "ipvs/test_draining.py": 11,
    "ipvs/test_leaving.py": 22,
    "ipvs/test_local_fallback.py": 3,
    "ipvs/test_ownership.py": 5,
    "ipvs/test_settings.py": 1,
    "ipvs/test_shapes.py": 13,
    "ipvs/test_sockets.py": 1,
    "kernel/test_kernel_addresses.py": 1,
    "kernel/test_kernel_ipset.py": 4,
    "kernel/test_kernel_ipvs.py": 1,
    "kernel/test_kernel_legacy_tables.py": 1,
    "kernel/test_kernel_trace.py": 4,
    "lab/test_health_checks.py": 1,
    "lab/test_ingress.py": 1,
    "lab/test_kept_labs.py": 1,
    "lab/test_lab_proxies.py": 1,
    "lab/test_networks.py": 2,
    "lab/test_switched_modes.py": 4,
    "matrix/test_matrix.py": 40,
    "matrix/test_plugins.py": 11,
    "run/test_run_empty.py": 7,
    "run/test_run_ipvs_local_fallback.py": 4,
    "run/test_run_killed.py": 11,
    "run/test_run_once.py": 1,
    "run/test_switching.py": 20,
    "scenario/test_scenarios.py": 82,
    "serve/test_run_figures.py": 3,
    "serve/test_run_servers.py": 1,
    "services/test_examples.py": 44,
    "services/test_load_balancers.py": 2,
    "services/test_pods_of_services.py": 4,
    "services/test_service_changes.py": 4,
    "services/test_service_types.py": 8,
    "test_inputs.py": 12,
    "test_rendering.py": 2,
    "test_sequences.py": 3,
    "test_service_rules.py": 6,
    "trace/test_demo_rows.py": 6,
    "trace/test_on_a_node_without_nf_tables.py": 20,
    "trace/test_traces.py": 6,
    "upgrade/test_upgrade_packets.py": 8,
}
_OF_TERMINALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
_HERE = Path(__file__).parent
_LEFT_OUT = pytest.StashKey[frozenset[Path]]()
# Their rows are asked at once, in one lab.
_ONE_SURVEY = ("test_cluster_ip.py", "test_external_addresses.py", "test_node_port.py")
_ONE_LAB = ("control_plane", "services")  # folders whose tests share one


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the files of other parts than ours: KPROXY_TEST_PART=1/2 is the first of two.

    A part has whole files, so that what a file's tests share is built once. All parts take about
    the same time. Files without tests marked ipvs are in no part: to import them would take as long
    on user-mode Linux as a dozen tests.
    """
    part, _, parts = os.environ.get("KPROXY_TEST_PART", "").partition("/")
    if not parts or not collection_path.name.startswith("test_"):
        return None
    if config.stash.get(_LEFT_OUT, None) is None:
        config.stash[_LEFT_OUT] = _others(int(part), int(parts))
    return collection_path in config.stash[_LEFT_OUT] or None


def _others(part: int, parts: int) -> frozenset[Path]:
    """Return the test files of all parts but one."""
    seconds: Counter[str] = Counter()
    for name, takes in _SECONDS.items():
        seconds[_group(_HERE / name)] += takes
    shares: list[set[str]] = [set() for _ in range(parts)]
    sizes = [0] * parts
    for group, takes in sorted(seconds.items(), key=lambda each: (-each[1], each[0])):
        smallest = sizes.index(min(sizes))
        shares[smallest].add(group)
        sizes[smallest] += takes
    ours = {path for path in map(_HERE.joinpath, _SECONDS) if _group(path) in shares[part - 1]}
    return frozenset({*_HERE.rglob("test_*.py")} - ours)


def _group(path: Path) -> str:
    """Files of one group are in the same part."""
    if path.parent.name in _ONE_LAB:
        return path.parent.name
    return "survey" if path.name in _ONE_SURVEY else str(path)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Keep the tests marked ipvs that are in no part, also with -m "not ipvs": else nothing would
    run them. They fail where the kernel has no ip_vs.
    """
    in_no_part = [each for each in items if each.get_closest_marker("ipvs") and _unlisted(each)]
    yield
    items.extend(each for each in in_no_part if each not in items)


def _unlisted(item: pytest.Item) -> bool:
    return (
        item.path.is_relative_to(_HERE) and item.path.relative_to(_HERE).as_posix() not in _SECONDS
    )


def pytest_collection_finish() -> None:
    """Leave what has been collected, which stays to the end, out of all garbage collections."""
    keep_for_good()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("ipvs") and not has_ipvs():
        in_no_part = (
            f"add {item.path} to _SECONDS in {__file__}: scripts/test does not run it yet; "
        )
        pytest.fail(
            f"{in_no_part if _unlisted(item) else ''}"
            "no ip_vs in this kernel; all tests: sudo scripts/test; this one: sudo "
            f"scripts/ipvs-kernel .venv/bin/python -m pytest '{item.nodeid}'",
            pytrace=False,
        )


@pytest.fixture(scope="session", autouse=True)
def _signals_of_programs() -> Iterator[None]:
    """Programs that tests start take signals as usual, even if whoever started this process ignores
    them: `nohup` does SIGHUP, and a shell does SIGINT for what it runs in the background.

    A handler instead, because programs do not inherit it.
    """
    ignored = [each for each in _OF_TERMINALS if signal.getsignal(each) is signal.SIG_IGN]
    for each in ignored:
        signal.signal(each, lambda *_: None)
    yield
    for each in ignored:
        signal.signal(each, signal.SIG_IGN)


@pytest.fixture(autouse=True)
def _no_width_for_programs() -> None:
    """Programs that tests start break no lines: they see no COLUMNS.

    It may come from whoever runs the tests, or from readline, which sets it to 80 when it is
    imported: for the C library, and so for workers that are started after that.
    """
    os.environ.pop("COLUMNS", None)
    os.unsetenv("COLUMNS")


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
