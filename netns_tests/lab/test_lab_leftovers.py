"""A lab changes only its own namespaces, and nothing of it is left."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kproxy.address import Family
from kproxy.errors import NamespaceBusy
from kproxy.kernel import netns
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run
from kproxy.lab import ClientSpec, Lab, LabSpec, NodeSpec, PodSpec, PortSpec, leftovers
from kproxy.lab.leftovers import RECORDS
from kproxy.lab.spec import BalancerSpec, EdgeSpec
from netns_tests.descriptors import open_descriptors

# They count or describe what the kernel has done, or change with time; none is a setting.
UNSTABLE = {"nf_conntrack_count", "fdb-count", "random"}


def spec(name: str, network: str = "routed", edge: EdgeSpec | None = None) -> LabSpec:
    pods = tuple(PodSpec(name=f"web-{n}", ports=(PortSpec(port=80),)) for n in (1, 2))
    return LabSpec(
        name=name,
        nodes=(NodeSpec(name="node-a", pods=pods), NodeSpec(name="node-b")),
        clients=(ClientSpec(name="outside"),),
        routes={"192.0.2.0/24": "node-a"},
        network=network,
        edge=edge,
    )


@pytest.fixture
def name() -> str:
    return f"t{os.getpid()}x"  # not the beginning of the name of another process's labs


def machine(name: str) -> dict[str, object]:
    """Return all state of the machine's own namespace that a lab might change.

    From shared folders, only entries with `name` or of this process: other processes may use them.
    """
    rules = [
        "iptables-legacy-save",
        "ip6tables-legacy-save",
        "iptables-nft-save",
        "ip6tables-nft-save",
    ]
    return {
        "links": run(["ip", "-o", "link"]),
        "addresses": run(["ip", "-o", "addr"]),
        "routes": run(["ip", "route", "show", "table", "all"]),
        "routes6": run(["ip", "-6", "route", "show", "table", "all"]),
        "netns ids": run(["ip", "netns", "list-id"]),
        "nft": run(["nft", "list", "ruleset"]),
        **{each: _without_counters(run([each])) for each in rules},
        "sysctl": _settings(),
        "names": [each for each in netns.published_names() if each.startswith(name)],
        "records": sorted(str(path) for path in RECORDS.parent.rglob(f"*{name}*")),
        "mounts": [
            line for line in Path("/proc/self/mounts").read_text().splitlines() if name in line
        ],
        "threads": sorted(os.listdir("/proc/self/task")),
        "descriptors": open_descriptors(),
    }


def _without_counters(text: str) -> list[str]:
    return [line.split(" [")[0] for line in text.splitlines() if not line.startswith("#")]


def _settings() -> dict[str, str]:
    found = {}
    for path in sorted(Path("/proc/sys/net").rglob("*")):
        if path.is_file() and path.stat().st_mode & 0o400 and path.name not in UNSTABLE:
            try:
                found[str(path)] = path.read_text()
            except OSError as error:  # some have no value yet: stable_secret
                found[str(path)] = str(error.errno)
    return found


BALANCED = EdgeSpec(balancers=(BalancerSpec(name="lb"),))
LABS: list[tuple[str, bool, EdgeSpec | None]] = [
    ("routed", False, None),
    ("routed", True, None),
    ("flannel-vxlan", False, BALANCED),  # tunnels, bridges with netfilter
    ("flannel-host-gw", True, BALANCED),
    ("eni-shared", False, BALANCED),  # rules of routing, marks
]


@pytest.mark.parametrize(("network", "publish", "edge"), LABS)
def test_the_machine_is_as_before(
    name: str, network: str, publish: bool, edge: EdgeSpec | None
) -> None:
    with Lab(spec("warm", network, edge), mode=None, publish=publish):
        pass  # loads or makes what exists once per machine: modules, the folder /run/netns
    before = machine(name)
    with Lab(spec(name, network, edge), mode=None, publish=publish) as lab:
        during = machine(name)
        lab.route("192.0.2.0/25", via="node-b")
    after = machine(name)
    assert after == before
    own = {"names", "records", "mounts", "threads", "descriptors"}
    assert {key for key in before if during[key] != before[key]} <= own
    assert bool(during["names"]) == publish


def test_published_names(name: str) -> None:
    with Lab(spec(name), mode=None, publish=True) as lab:
        wanted = sorted(f"{name}-{host}" for host in lab.hosts)
        assert [each for each in netns.published_names() if each.startswith(name)] == wanted
        assert "192.168.10.11" in run(["ip", "-n", f"{name}-node-a", "address"])
        (record,) = RECORDS.glob(f"{os.getpid()}-{name}.json")
        assert json.loads(record.read_text())["pid"] == os.getpid()


def test_the_record_is_there_as_long_as_a_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a kill in between would leave an unrecorded name."""
    seen: list[tuple[str, bool, bool]] = []

    def note(step: str, original: Callable[..., object]) -> Callable[..., object]:
        def noted(*args: object) -> object:
            names = any(each.startswith(name) for each in netns.published_names())
            seen.append((step, names, bool(list(RECORDS.glob(f"*{name}*")))))
            return original(*args)

        return noted

    monkeypatch.setattr(Namespace, "publish", note("publish", Namespace.publish))
    monkeypatch.setattr(leftovers, "forget", note("forget", leftovers.forget))
    with Lab(spec(name), mode=None, publish=True):
        pass
    assert seen[0] == ("publish", False, True)
    assert seen[-1] == ("forget", False, True)


def test_a_taken_name_undoes_what_was_published(name: str) -> None:
    taken = f"{name}-web-1"  # neither the first nor the last
    with Namespace.create() as other:
        other.publish(taken)
        before = machine(name)
        with pytest.raises(NamespaceBusy, match=taken), Lab(spec(name), mode=None, publish=True):
            pass
        assert machine(name) == before
        assert taken in netns.published_names()


@pytest.mark.parametrize(
    "step", ["topology.attach", "topology.await_all_ready", "pods.server._open", "leftovers.record"]
)
def test_an_error_during_bring_up_undoes_all(
    name: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = machine(name)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(f"kproxy.lab.{step}", fail)
    with pytest.raises(ZeroDivisionError), Lab(spec(name), mode=None, publish=True):
        pass
    assert machine(name) == before


def test_an_error_inside_the_block_undoes_all(name: str) -> None:
    before = machine(name)
    with pytest.raises(ZeroDivisionError), Lab(spec(name), mode=None, publish=True):
        raise ZeroDivisionError
    assert machine(name) == before


CHILDS_HOSTS = ("router", "gateway", "lb", "node-a", "node-b", "web-1")
CHILD = """
import socket, sys
from contextlib import ExitStack
from kproxy.lab import Lab, LabSpec, NodeSpec, PodSpec, PortSpec
from kproxy.lab.spec import BalancerSpec, EdgeSpec
pods = (PodSpec(name="web-1", ports=(PortSpec(port=80),)),)
edge = EdgeSpec(balancers=(BalancerSpec(name="lb"),))
name = sys.argv[1]
with ExitStack() as stack:
    for lab, publish in ((f"{name}-anonymous", False), (f"{name}-published", True)):
        nodes = (NodeSpec(name="node-a", pods=pods), NodeSpec(name="node-b"))
        spec = LabSpec(name=lab, nodes=nodes, network="flannel-vxlan", edge=edge)
        up = stack.enter_context(Lab(spec, mode=None, publish=publish))
        for host in up.hosts.values():
            with host.namespace.entered(), socket.socket() as sock:
                cookie = int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, 71, 8), sys.byteorder)
            print(host.namespace.inode, cookie, end=" ", flush=True)
        print()
    print("up", flush=True)
    sys.stdin.read()
"""


@contextmanager
def child(name: str) -> Iterator[tuple[subprocess.Popen[str], dict[int, int]]]:
    """Yield a process with one anonymous and one published lab; inode -> cookie of namespaces."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout
            ready, _, _ = select.select([process.stdout], [], [], 30)
            assert ready
            first, second, last = (process.stdout.readline() for _ in range(3))
            assert last == "up\n"
            numbers = [int(word) for word in (first + second).split()]
            yield process, dict(zip(numbers[::2], numbers[1::2], strict=True))
        finally:
            process.kill()


def test_nothing_is_left_after_a_kill_and_the_next_start(name: str) -> None:
    before = machine(name)
    with child(name) as (process, namespaces):
        assert len(namespaces) == 2 * len(CHILDS_HOSTS)
        assert _living(namespaces) == set(namespaces.values())
        # Not checked after the kill: any lab that starts on this machine removes them then.
        published = {each for each in netns.published_names() if each.startswith(name)}
        assert published == {f"{name}-published-{host}" for host in CHILDS_HOSTS}
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        with Namespace.create() as other:  # not recorded anywhere: not ours to remove
            other.publish(f"{name}-other")
            with Lab(spec("next"), mode=None):
                pass
            assert f"{name}-other" in netns.published_names()
        assert _living(namespaces) == set()
    assert machine(name) == before


def test_a_running_lab_keeps_its_names(name: str) -> None:
    with child(name):
        with Lab(spec("next"), mode=None):
            pass
        assert f"{name}-published-node-a" in netns.published_names()


def test_a_name_that_another_process_reused_is_kept(name: str) -> None:
    with child(name) as (process, _):
        taken = f"{name}-published-node-a"
        run(["ip", "netns", "delete", taken])
        run(["ip", "netns", "add", taken])
        try:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)
            with Lab(spec("next"), mode=None):
                pass
            assert [n for n in netns.published_names() if n.startswith(name)] == [taken]
        finally:
            run(["ip", "netns", "delete", taken])
    assert not list(RECORDS.parent.rglob(f"*{name}*"))


RECORDING = """
import sys
from kproxy.kernel.netns import Namespace
from kproxy.lab import leftovers
with Namespace.create() as namespace:
    namespace.inode = int(sys.argv[2])
    leftovers.record(sys.argv[1], {sys.argv[1]: namespace})
"""


def test_a_name_whose_namespace_has_only_the_inode_of_a_dead_labs_is_kept(name: str) -> None:
    """Somebody has deleted the name, and given it to a new namespace."""
    with Namespace.create() as other:
        other.publish(name)
        child = [sys.executable, "-c", RECORDING, name, str(other.inode)]
        subprocess.run(child, check=True)
        with Lab(spec("next"), mode=None):
            pass
        assert name in netns.published_names()
        assert not list(RECORDS.parent.rglob(f"*{name}*"))


KILLED_WHILE_PUBLISHING = """
import os, signal, sys
from kproxy.kernel import netns
from kproxy.lab import Lab, LabSpec, NodeSpec
mount = netns._mount
def killed(source, target, flags):
    if target.name == sys.argv[1] + "-node-a":
        os.kill(os.getpid(), signal.SIGKILL)
    mount(source, target, flags)
netns._mount = killed
with Lab(LabSpec(name=sys.argv[1], nodes=(NodeSpec(name="node-a"),)), mode=None, publish=True):
    pass
"""


def test_nothing_is_left_of_a_publication_cut_short(name: str) -> None:
    before = machine(name)
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_PUBLISHING, name], check=False)
    assert killed.returncode == -signal.SIGKILL
    with Lab(spec("next"), mode=None):
        pass
    assert machine(name) == before


@pytest.mark.parametrize("mode", [0, 0o644])
def test_a_name_that_another_process_is_about_to_publish_is_kept(name: str, mode: int) -> None:
    """`ip netns add` makes an empty file, and then mounts the namespace on it."""
    with child(name) as (process, _):
        taken = netns.RUN_DIR / f"{name}-published-node-a"
        run(["ip", "netns", "delete", taken.name])
        taken.touch(mode)
        try:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)
            with Lab(spec("next"), mode=None):
                pass
            assert taken.exists()
        finally:
            taken.unlink()


def _living(namespaces: dict[int, int]) -> set[int]:
    """Return the cookies of the namespaces that a process, a descriptor or a name under /run/netns
    holds.

    Inodes are reused at once, perhaps for another process's namespace; cookies never.
    """
    paths = [
        *netns.RUN_DIR.glob("*"),
        *Path("/proc").glob("[0-9]*/fd/*"),
        *Path("/proc").glob("[0-9]*/task/*/ns/net"),
    ]
    device = os.stat("/proc/self/ns/net").st_dev
    found = set()
    for path in paths:
        try:
            status = path.stat()
            if status.st_dev != device or status.st_ino not in namespaces:
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # it was removed meanwhile
            continue
        with Namespace(descriptor, str(path)) as namespace:
            found.add(namespace.run(_cookie))
    return found & set(namespaces.values())


def _cookie() -> int:
    so_netns_cookie = 71
    with socket.socket() as sock:
        return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, so_netns_cookie, 8), sys.byteorder)


def test_two_labs_with_the_same_addresses(name: str) -> None:
    one, two = Lab(spec(name), mode=None), Lab(spec(name), mode=None)
    with one, two:
        assert one.pods["web-1"].addresses == two.pods["web-1"].addresses
        assert one.pods["web-1"].namespace.inode != two.pods["web-1"].namespace.inode
        for lab in (one, two, one):
            assert _answers(lab)
        one.unroute("192.0.2.0/24")
        assert "192.0.2.0/24" in two.network.routes
        one.__exit__(None, None, None)
        assert _answers(two)


def _answers(lab: Lab) -> bool:
    before = _received(lab)
    with lab.clients["outside"].namespace.entered():
        address = (lab.pods["web-1"].addresses[Family.IPV4], 80)
        with socket.create_connection(address, timeout=5) as sock:
            sock.sendall(b"\n")
            reply = json.loads(sock.recv(1000))
    return reply["pod"] == "web-1" and _received(lab) > before


def _received(lab: Lab) -> int:
    def read() -> int:
        return int(Path("/proc/thread-self/net/dev").read_text().split("eth0:")[1].split()[1])

    return lab.pods["web-1"].namespace.run(read)
