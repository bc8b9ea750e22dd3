"""The labs of other people's tests: their API, what a failure shows of them, one that is kept."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from kubernetes import client

from kproxy.errors import BadInput
from kproxy.resident import places
from kproxy.testing import LabFactory, ProbedLab, delivered

pytest_plugins = ["pytester"]

KPROXY = [sys.executable, "-m", "kproxy"]


@pytest.fixture(scope="module")
def lab(kproxy_module_lab: LabFactory) -> ProbedLab:
    return kproxy_module_lab(pods={"visitor": "node-a"}, control_plane=True, mode="nftables")


def kproxy(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*KPROXY, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_clients_reach_the_api_of_a_lab(lab: ProbedLab) -> None:
    pods = client.CoreV1Api(lab.client()).list_namespaced_pod("default").items
    assert [each.metadata.name for each in pods] == ["visitor"]
    kubectl = Path(sys.executable).with_name("kubectl")
    argv = [str(kubectl), "--kubeconfig", str(lab.kubeconfig), "get", "pods", "-o", "name"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("pod/visitor\n", "")


def test_questions_wait_for_what_was_written_through_the_api(lab: ProbedLab) -> None:
    body = {
        "metadata": {"name": "visited"},
        "spec": {"selector": {"app": "visitor"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    core = client.CoreV1Api(lab.client())
    address = core.create_namespaced_service("default", body).spec.cluster_ip
    assert lab.ask("node-a", address, 80) == delivered("visitor")


def test_only_the_owner_reads_a_kubeconfig(lab: ProbedLab) -> None:
    assert stat.S_IMODE(lab.kubeconfig.stat().st_mode) == 0o600
    assert stat.S_IMODE(lab.kubeconfig.parent.stat().st_mode) == 0o700
    assert lab.kubeconfig == lab.kubeconfig


def test_a_lab_of_a_test_cannot_be_ended_by_others(lab: ProbedLab) -> None:
    name = lab.kubeconfig.parent.name
    done = kproxy("down", name)
    assert done.returncode == 2
    assert f"lab {name} is of a test that runs: it ends with the test" in done.stderr
    assert lab.kubeconfig.exists()


def test_a_kubeconfig_is_removed_with_the_lab() -> None:
    with LabFactory() as factory:
        lab = factory(control_plane=True, mode=None)
        place = lab.kubeconfig.parent
        assert places.is_living(place.name)
    assert not place.exists()
    with pytest.raises(BadInput, match="this lab is not up"):
        lab.client()


def test_a_lab_without_a_control_plane_has_no_api(kproxy_lab: LabFactory) -> None:
    lab = kproxy_lab(mode=None)
    with pytest.raises(BadInput, match="no control plane, and so no API") as refused:
        _ = lab.kubeconfig
    assert "control_plane=True" in refused.value.remedy


FAILING = """
    import pytest
    from kproxy.api.types import ServicePort
    from kproxy.lab import service

    @pytest.fixture(scope="module")
    def shared(kproxy_module_lab):
        lab = kproxy_module_lab(pods={"shop": "node-a"}, mode="nftables")
        ports = [ServicePort(port=80, target_port=8080)]
        shop = service("shop", cluster_ips=["10.96.0.9"], ports=ports, selector={"app": "shop"})
        lab.apply([shop, *lab.slices(shop)])
        return lab

    def test_passes(shared):
        pass

    def test_fails(shared):
        shared.delete([("Service", "default", "shop")])
        assert False

    def test_fails_without_it():
        assert False
"""


def test_a_failure_shows_the_labs_of_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAILING)
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*_ test_fails _*",
            "*- kproxy lab: nftables mode, node-a -*",
            "endpoints:",
            "*default *shop *10.244.1.11:8080 *node-a *ready",
            "changes:",
            "*Service default/shop *created",
            "*Service default/shop *deleted",
            "*_ test_fails_without_it _*",
        ]
    )
    assert result.stdout.str().count("kproxy lab: ") == 1


@pytest.fixture
def terminal(pytester: pytest.Pytester) -> Iterator[int]:
    """A terminal in which pytest keeps the lab of its first failure."""
    path = pytester.makepyfile(FAILING)
    pid, descriptor = os.forkpty()
    if not pid:
        os.execv(sys.executable, [sys.executable, "-m", "pytest", "--kproxy-keep", str(path)])
    yield descriptor
    with suppress(OSError):
        os.write(descriptor, b"\x03")
    output_until(descriptor, None)
    os.close(descriptor)
    os.waitpid(pid, 0)


def output_until(descriptor: int, text: str | None) -> str:
    """Return what a terminal shows until there is a text, or until the program has ended."""
    found = b""
    with suppress(OSError):  # EIO: the program has ended
        while text is None or text.encode() not in found:
            found += os.read(descriptor, 1 << 16)
    return found.decode()


def test_the_lab_of_the_first_failure_is_kept(terminal: int) -> None:
    said = output_until(terminal, ", or Ctrl-C")
    (name,) = re.findall(r"until: kproxy down (\S+), or Ctrl-C", said)
    assert "test_fails has failed" in said
    assert f"kproxy shell --lab {name} node-a" in said
    assert "KUBECONFIG" not in said  # it has no API
    assert name in kproxy("ls").stdout
    assert "pods       1 of 1 ready" in kproxy("status", name).stdout
    entered = kproxy("shell", "--lab", name, "shop", "--", "ip", "-br", "address")
    assert "10.244.1.11" in entered.stdout
    assert kproxy("down", name).stdout == f"{name} is gone\n"
    assert not places.place_of(name).exists()
    output_until(terminal, None)  # pytest ends by itself


def test_an_interrupt_ends_a_kept_lab(terminal: int) -> None:
    said = output_until(terminal, ", or Ctrl-C")
    (name,) = re.findall(r"until: kproxy down (\S+), or Ctrl-C", said)
    os.write(terminal, b"\x03")
    output_until(terminal, None)
    assert not places.place_of(name).exists()
