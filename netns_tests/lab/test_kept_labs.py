"""Labs that a command keeps up: their proxies repair rules, and every signal removes them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kproxy.cli.interrupts import removing_the_lab
from kproxy.errors import KernelRefused
from kproxy.kernel.netns import published_names
from kproxy.kernel.process import run
from kproxy.lab import Lab, load_spec
from kproxy.testing import LabFactory, delivered
from netns_tests.modes import MODES, Mode

LAB = "examples/lab/demo.yaml"
SERVICE = "examples/cluster-ip.yaml"
FLUSHES = {
    "iptables": "iptables-{variant} -t nat -F",
    "nftables": "nft delete table ip kube-proxy",
    "ipvs": "ipvsadm -C",
}
DAMAGE = "{} rules were changed by another process; wrote all again"


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command in a process group of its own, as a shell does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kproxy", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # not as under nohup
    )
    try:
        with process:
            yield process
    finally:
        process.kill()


def await_line(process: subprocess.Popen[str], part: str) -> None:
    assert process.stderr
    seen = []
    for line in process.stderr:
        seen.append(line)
        if part in line:
            return
    raise AssertionError("".join(seen))


def ends(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the status and the last line."""
    _, said = process.communicate()
    return process.returncode, said.splitlines()[-1]


BUSY = [  # command, what it says when it has begun
    (("demo",), "lab up in"),
    (("demo",), "building the lab"),
    (("demo", "--example", "cluster-ip", "--keep"), "Names, as the pod shell resolves them"),
    (("scenario", "run", "lb-local-from-same-node"), "building the lab"),
    (("matrix", "--service", "clusterip"), "measuring: "),
]


@pytest.mark.parametrize(("command", "begun"), BUSY)
def test_ctrl_c_removes_a_lab_that_works(command: tuple[str, ...], begun: str) -> None:
    with started(*command) as process:
        await_line(process, begun)
        os.killpg(process.pid, signal.SIGINT)
        assert ends(process) == (130, "the lab is gone")
    assert not [name for name in published_names() if name.startswith("services-")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_so_do_other_signals(number: signal.Signals) -> None:
    with started("demo") as process:
        await_line(process, "lab up in")
        process.send_signal(number)
        assert ends(process) == (128 + number, "the lab is gone")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_end_of_a_kept_lab_is_no_failure(number: signal.Signals) -> None:
    with started("demo", "--example", "cluster-ip", "--keep") as process:
        await_line(process, "Ctrl-C removes it")
        assert "services-node-a" in published_names()
        os.killpg(process.pid, number)
        assert ends(process) == (0, "the lab is gone")
    assert not [name for name in published_names() if name.startswith("services-")]


def test_a_kept_lab_repairs_its_rules() -> None:
    with started("demo", "--example", "cluster-ip", "--keep") as process:
        await_line(process, "Ctrl-C removes it")
        node = ["ip", "netns", "exec", "services-node-b"]
        for time in range(2):
            run([*node, "iptables", "-t", "nat", "-F"])
            await_line(process, f"node-b: {DAMAGE.format('IPv4')}")
            assert "KUBE-SEP-" in run([*node, "iptables-save", "-t", "nat"]), time
        process.send_signal(signal.SIGTERM)
        assert ends(process) == (0, "the lab is gone")


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_repair(mode: Mode) -> None:
    """One node is damaged, so one is repaired, in the family that is damaged."""
    with LabFactory() as factory:
        lab = factory(LAB, mode=mode.name, options=mode.options, manifests=[SERVICE])
        assert lab.repair() == {}
        command = FLUSHES[mode.name].format(variant=mode.variant).split()
        lab.nodes["node-a"].namespace.run(lambda: run(command))
        found = lab.repair()
        assert {*found} == {"node-a"}
        assert "IPv4" in found["node-a"]
        assert lab.connect("node-a", "10.96.0.10", 80) == delivered("web-a", "web-b", "web-c")
        assert lab.repair() == {}


def test_what_cannot_be_repaired_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with Lab(load_spec(LAB), "nftables") as lab:
        lab.apply(SERVICE)
        namespace = lab.nodes["node-a"].namespace
        namespace.run(lambda: run(["nft", "delete", "table", "ip", "kube-proxy"]))
        proxy = lab.proxy("node-a")
        with monkeypatch.context() as broken:
            broken.setattr(proxy, "sync", _refuse)
            for _ in range(2):
                with pytest.raises(KernelRefused):
                    lab.repair()
        assert lab.repair() == {"node-a": ("IPv4",)}


def _refuse() -> None:
    raise KernelRefused("no memory")


def test_signals_are_as_before_afterwards() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with removing_the_lab():
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert [signal.getsignal(number) for number in numbers] == before
