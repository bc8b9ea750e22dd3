"""One proxy for each network namespace."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from kproxy.errors import NamespaceBusy
from kproxy.kernel.netns import Namespace
from kproxy.kernel.ownership import claim_namespace

HOLD = """
import sys
from kproxy.kernel.ownership import claim_namespace
with claim_namespace():
    print("mine", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def owner() -> Iterator[tuple[Namespace, subprocess.Popen[str]]]:
    """Yield a namespace that another process owns."""
    with Namespace.create("owned") as namespace:
        with namespace.entered():
            process = subprocess.Popen(
                [sys.executable, "-c", HOLD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        with process:
            assert process.stdout
            assert process.stdout.readline() == "mine\n"
            yield namespace, process
            process.kill()


def test_the_second_is_refused_with_the_pid_of_the_first(
    owner: tuple[Namespace, subprocess.Popen[str]],
) -> None:
    namespace, process = owner
    for _ in range(3):
        with namespace.entered(), pytest.raises(NamespaceBusy) as busy, claim_namespace():
            pass
        assert busy.value.pid == process.pid
        assert str(process.pid) in str(busy.value)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_behind_however_the_owner_ends(
    owner: tuple[Namespace, subprocess.Popen[str]], end: signal.Signals
) -> None:
    namespace, process = owner
    process.send_signal(end)
    assert process.wait() == -end
    with namespace.entered(), claim_namespace():
        pass


def test_each_namespace_has_its_own_owner() -> None:
    with (
        Namespace.create("a") as one,
        Namespace.create("b") as other,
        one.entered(),
        claim_namespace(),
        other.entered(),
        claim_namespace(),
    ):
        pass


def test_one_process_cannot_own_a_namespace_twice_at_a_time_but_again() -> None:
    with Namespace.create("a") as namespace, namespace.entered():
        with claim_namespace(), pytest.raises(NamespaceBusy) as busy, claim_namespace():
            pass
        assert busy.value.pid == os.getpid()
        with claim_namespace():
            pass


def test_the_pid_is_0_where_so_many_have_asked_that_the_queue_is_full() -> None:
    with Namespace.create("a") as namespace, namespace.entered(), claim_namespace():
        pids = set()
        for _ in range(5000):  # SOMAXCONN is 4096
            with pytest.raises(NamespaceBusy) as busy, claim_namespace():
                pass
            pids.add(busy.value.pid)
        assert pids == {os.getpid(), 0}
