"""`ip netns exec` finds a published pod's resolv.conf, and nothing of it is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kproxy.dns import resolv_conf
from kproxy.errors import BadInput
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run
from kproxy.lab import Lab, LabSpec, NodeSpec, PodSpec, leftovers
from kproxy.lab.netns_files import ETC_DIR, remove_resolv_conf, write_resolv_conf

TEXT = resolv_conf(["10.96.0.10"], "default")
FOREIGN = "nameserver 192.0.2.9\n"


@pytest.fixture
def name() -> Iterator[str]:
    """Yield the name of a published namespace."""
    name = f"t{os.getpid()}-web-1"
    with Namespace.create() as namespace:
        namespace.publish(name)
        yield name


def test_ip_netns_exec_finds_it(name: str) -> None:
    before = sorted(Path("/etc").iterdir())
    for text in ("nameserver 192.0.2.1\n", TEXT):  # the second in place of the first
        write_resolv_conf(name, text)
        seen = run(["ip", "netns", "exec", name, "cat", "/etc/resolv.conf"])
        assert seen == "# of a kproxy lab\n" + text
    assert [each.name for each in (ETC_DIR / name).iterdir()] == ["resolv.conf"]
    for _ in range(2):
        remove_resolv_conf(name)
        assert not (ETC_DIR / name).exists()
    assert sorted(Path("/etc").iterdir()) == before


def test_what_is_not_ours_stays(name: str) -> None:
    path = ETC_DIR / name / "resolv.conf"
    path.parent.mkdir(parents=True)
    try:
        path.write_text(FOREIGN)
        with pytest.raises(BadInput, match=f"{path} exists already"):
            write_resolv_conf(name, TEXT)
        remove_resolv_conf(name)
        assert path.read_text() == FOREIGN
        path.unlink()
        (path.parent / "hosts").write_text("")
        write_resolv_conf(name, TEXT)
        remove_resolv_conf(name)
        assert [each.name for each in path.parent.iterdir()] == ["hosts"]
    finally:
        for each in path.parent.iterdir():
            each.unlink()
        remove_resolv_conf(name)


def test_a_published_lab_resolves() -> None:
    name = f"t{os.getpid()}"
    nodes = (NodeSpec(name="node-a", pods=(PodSpec(name="shell"),)),)
    with Lab(LabSpec(name=name, nodes=nodes, control_plane=True), publish=True):
        inside = ["ip", "netns", "exec", f"{name}-shell"]
        said = run([*inside, "getent", "ahostsv4", "kube-dns.kube-system"])
        assert said.split()[0] == "10.96.0.10"
    assert not [*ETC_DIR.glob(f"{name}*")]


KILLED = """
import os, signal, sys
from kproxy.kernel.netns import Namespace
from kproxy.lab import Lab, LabSpec, NodeSpec, PodSpec, leftovers
from kproxy.lab.netns_files import ETC_DIR, write_resolv_conf
spaces = {f"{sys.argv[1]}-{pod}": Namespace.create() for pod in ("a", "b", "c")}
leftovers.record(sys.argv[1], spaces)
for name, namespace in spaces.items():
    namespace.publish(name)
    write_resolv_conf(name, "nameserver 10.96.0.10\\n")
(ETC_DIR / f"{sys.argv[1]}-b" / "resolv.conf").write_text("nameserver 192.0.2.9\\n")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_next_lab_removes_what_a_killed_one_left() -> None:
    """Another process has changed the file of `b` since, and has deleted the name of `c`."""
    lab = f"t{os.getpid()}-killed"
    subprocess.run([sys.executable, "-c", KILLED, lab], check=False)
    run(["ip", "netns", "delete", f"{lab}-c"])
    # Debian's `ip netns delete` does not touch /etc/netns.
    assert sorted(each.name for each in ETC_DIR.glob(f"{lab}*")) == [
        f"{lab}-{pod}" for pod in "abc"
    ]
    assert set(leftovers.sweep()) >= {f"{lab}-a", f"{lab}-b"}
    (altered,) = ETC_DIR.glob(f"{lab}*/*")
    assert (altered.parent.name, altered.read_text()) == (f"{lab}-b", FOREIGN)
    altered.unlink()
    remove_resolv_conf(altered.parent.name)
    assert not [*ETC_DIR.glob(f"{lab}*")]
