"""The API of a lab that stays: who reaches it, and with what; kproxy's own commands over it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from netns_tests.up.machine import KPROXY, Machine
from netns_tests.up.ordinary_user import ordinary_user
from netns_tests.up.test_killed_labs import ended

WEB = "examples/services/cluster-ip.yaml"
PROXY = (
    f"{sys.executable} -m kproxy run --kubeconfig {{kubeconfig}} --hostname-override {{node}} "
    "--proxy-mode nftables"
)
SWITCH = """
from kproxy.cli.labs import living_lab
from kproxy.resident.control import ask
ask(living_lab(None), {"do": "mode", "mode": "iptables"})
"""
ASKED_FROM = [  # how a program on a host reaches the API
    ("node-a", "--cacert ca.crt https://192.168.10.1:6443"),
    ("node-a", "--cacert ca.crt https://10.96.0.1"),
    ("outside", "--cacert ca.crt https://192.168.10.1:6443"),
    ("shell", "--cacert ca.crt https://kubernetes.default.svc"),
    ("shell", "--cacert ca.crt https://kubernetes.default.svc.cluster.local"),
]


def answers(machine: Machine, name: str) -> bool:
    """Tell whether a pod answers through the Service `name`, asked by another pod."""
    done = machine.kproxy("exec", "shell", "--", "curl", "-sm", "2", f"http://{name}.default")
    return '"pod": "web-' in done.stdout


def test_the_files_of_an_api_are_private(machine: Machine) -> None:
    status = machine.values("up", "--nodes", "1")
    token = machine.run("cat", "/run/kproxy/lab/token").stdout
    modes = machine.run("find", "/run/kproxy/lab", "-type", "f", "-printf", "%f %m\n").stdout
    assert {line.split()[1] for line in modes.splitlines()} == {"600"}
    assert "ca.key" not in modes
    assert len(token) > 40
    assert token not in json.dumps(status) + machine.ok("logs") + machine.ok("status")
    assert status["api"].startswith("https://127.0.0.1:")
    assert status["api"] in machine.ok("kubeconfig")
    assert token in machine.ok("kubeconfig")


def test_a_kubeconfig_is_written_for_its_owner_only(machine: Machine, tmp_path: Path) -> None:
    machine.ok("up", "--nodes", "1")
    written, precious = tmp_path / "config", tmp_path / "precious"
    precious.write_text("as it was")
    written.symlink_to(precious)
    refused = machine.kproxy("kubeconfig", "--write", str(written))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert precious.read_text() == "as it was"
    written.unlink()
    for _ in range(2):  # made, and replaced
        machine.ok("kubeconfig", "--write", str(written))
    assert written.stat().st_mode & 0o777 == 0o600
    assert written.read_text() == machine.ok("kubeconfig")


def test_hosts_of_the_lab_reach_its_api(machine: Machine) -> None:
    machine.ok("up", "--nodes", "2")
    for host, how in ASKED_FROM:
        command = f"cd /run/kproxy/lab && curl -sS -m 5 {how}/version"
        assert '"gitVersion"' in machine.ok("shell", host, "--", "sh", "-c", command), (host, how)
    for host in ("node-a", "outside"):
        nodes = machine.ok("shell", host, "--", *KPROXY, "get", "nodes")
        assert "node-b" in nodes


def test_a_wrong_token_gets_no_answer(machine: Machine, tmp_path: Path) -> None:
    machine.ok("up", "--nodes", "1")
    path = tmp_path / "kubeconfig"
    text = machine.ok("kubeconfig")
    token = json.loads(text)["users"][0]["user"]["token"]
    path.write_text(text.replace(token, "guessed"))
    done = machine.run("env", "KPROXY_LAB_ID=x", f"KUBECONFIG={path}", *KPROXY, "get", "secrets")
    assert done.returncode == 1
    assert done.stderr == "error: You must be logged in to the server (Unauthorized)\n"


def test_a_port_that_is_taken(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = machine.kproxy("up", "--nodes", "1", "--api-port", str(port))
    assert done.returncode == 2
    assert f"--api-port {port}: another program listens there" in done.stderr
    assert machine.places() == []
    assert machine.values("up", "--api-port", str(port))["api"] == f"https://127.0.0.1:{port}"


def test_objects_by_kproxys_own_commands(machine: Machine, tmp_path: Path) -> None:
    machine.ok("up", "--nodes", "2")
    assert machine.ok("apply", "-f", WEB) == "deployment.apps/web created\nservice/web created\n"
    assert (
        machine.ok("apply", "-f", WEB) == "deployment.apps/web unchanged\nservice/web unchanged\n"
    )
    settings = [{"metadata": {"name": each}} for each in ("one", "two")]
    (tmp_path / "list.json").write_text(
        json.dumps({"apiVersion": "v1", "kind": "ConfigMapList", "items": settings})
    )
    listed = machine.ok("apply", "-f", str(tmp_path / "list.json"))
    assert listed == "configmap/one created\nconfigmap/two created\n"
    assert machine.ok("get", "svc", "web").split()[:3] == ["NAME", "TYPE", "CLUSTER-IP"]
    assert machine.ok("get", "svc,deploy", "-o", "name").split() == [
        "service/kubernetes",
        "service/web",
        "deployment.apps/web",
    ]
    assert machine.ok("scale", "deploy/web", "--replicas", "3") == "deployment.apps/web scaled\n"
    assert json.loads(machine.ok("get", "deploy", "web", "-o", "json"))["spec"]["replicas"] == 3
    assert machine.values("get", "deploy", "web")["spec"]["replicas"] == 3
    twice = machine.kproxy("get", "deploy", "web", "-o", "yaml", "--json")
    assert (twice.returncode, "give only one of them" in twice.stderr) == (2, True)
    assert answers(machine, "web")
    assert machine.ok("delete", "svc", "web") == 'service "web" deleted from default namespace\n'
    gone = machine.kproxy("get", "svc", "web")
    assert (gone.returncode, gone.stderr) == (
        1,
        'Error from server (NotFound): services "web" not found\n',
    )
    unknown = machine.kproxy("get", "ships")
    assert (unknown.returncode, unknown.stderr) == (
        1,
        'error: the server doesn\'t have a resource type "ships"\n',
    )


def test_explain_reads_the_objects_and_the_configuration_of_a_lab(machine: Machine) -> None:
    machine.ok("up", "--nodes", "2", "--mode", "nftables")
    there = ("--lab", "lab", "--node", "node-a", "--json")
    found = json.loads(machine.ok("explain", *there, "--from=external", "--to=10.96.0.1:443"))
    assert (found["verdict"], found["endpoints"]) == ("forward", ["192.168.10.1:6443"])
    assert found["masquerade"]  # by the lab's clusterCIDR
    found = json.loads(machine.ok("explain", *there, "--from=default/shell", "--to=10.96.0.1:9"))
    assert found["verdict"] == "reject"  # as in nftables mode
    assert "the pod default/shell on node-" in found["reason"][0]
    kubeconfig = machine.ok("kubeconfig", "--path").strip()
    there = ("--kubeconfig", kubeconfig, "--node", "node-a", "--json")
    found = json.loads(machine.ok("explain", *there, "--from=external", "--to=10.96.0.1:443"))
    assert (found["endpoints"], found["masquerade"]) == (["192.168.10.1:6443"], False)


def test_explain_knows_the_mode_that_a_lab_was_switched_to(machine: Machine) -> None:
    machine.ok("up", "--nodes", "1", "--mode", "nftables")
    asked = ("explain", "--lab", "lab", "--json", "--from=external", "--to=10.96.0.1:9")
    assert json.loads(machine.ok(*asked))["verdict"] == "reject"
    switched = machine.run(sys.executable, "-c", SWITCH)
    assert switched.returncode == 0, switched.stderr
    assert json.loads(machine.ok(*asked))["verdict"] == "pass"  # as in iptables mode
    unknown = machine.kproxy(*asked, "--node=node-x")
    assert "lab lab has no node 'node-x'; it has: node-a" in unknown.stderr


def test_changes_are_watched(machine: Machine) -> None:
    machine.ok("up", "--nodes", "1")
    command = machine.argv(*KPROXY, "get", "pods", "-w")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout
        told = (line.split()[:3] for line in watching.stdout)
        assert next(told) == ["NAME", "READY", "STATUS"]
        assert next(told) == ["shell", "1/1", "Running"]
        machine.ok("apply", "-f", WEB)
        assert ["web-1", "1/1", "Running"] in told
        machine.ok("delete", "deploy", "web")
        assert ["web-1", "1/1", "Terminating"] in told
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 130


def test_commands_in_pods(machine: Machine) -> None:
    machine.ok("up", "--nodes", "1")
    assert machine.ok("exec", "shell", "--", "hostname") == "shell\n"
    assert machine.kproxy("exec", "shell", "--", "sh", "-c", "exit 5").returncode == 5
    assert machine.ok("exec", "pod/shell", "--", "hostname") == "shell\n"
    no_pod = machine.kproxy("exec", "deploy/web", "--", "true")
    assert (no_pod.returncode, "deploy/web: exec needs the name of a pod" in no_pod.stderr) == (
        2,
        True,
    )
    missing = machine.kproxy("exec", "nobody", "--", "true")
    assert (missing.returncode, missing.stderr) == (
        1,
        'Error from server (NotFound): pods "nobody" not found\n',
    )
    said = machine.run(
        "sh", "-c", f"echo one two | {' '.join(KPROXY)} exec -i shell -- sh -c 'cat; echo end'"
    )
    assert said.stdout == "one two\nend\n"


@pytest.mark.parametrize("mode", ["iptables", "nftables", "userspace"])
def test_proxies_that_watch_the_api(machine: Machine, mode: str) -> None:
    machine.ok("up", "--nodes", "2", "--mode", mode, "--source", "api")
    machine.ok("apply", "-f", WEB)
    assert any(answers(machine, "web") for _ in range(50))
    status = machine.values("status")
    assert status["source"] == "api"
    assert all(node["syncs"] and not node["failures"] for node in status["nodes"])


def test_any_proxy_by_a_command(machine: Machine) -> None:
    machine.ok("up", "--nodes", "2", "--proxy-command", PROXY)
    machine.ok("apply", "-f", WEB)
    assert any(answers(machine, "web") for _ in range(50)), machine.ok("logs", "--node", "node-a")
    assert {node["commandStatus"] for node in machine.values("status")["nodes"]} == {None}


def test_without_a_proxy_nothing_is_translated(machine: Machine) -> None:
    machine.ok("up", "--nodes", "1", "--proxy", "none")
    machine.ok("apply", "-f", WEB)
    assert not answers(machine, "web")
    rules = machine.ok("shell", "node-a", "--", "nft", "list", "tables")
    assert "kube-proxy" not in rules


def test_a_lab_in_a_guest_is_reached_from_here(machine: Machine) -> None:
    """IPVS on user-mode Linux; its process is killed, and nothing is left of the guest."""
    status = machine.values("up", "--nodes", "2", "--mode", "ipvs", "--kernel", "uml")
    assert status["kernel"] == "user-mode Linux"
    machine.ok("apply", "-f", WEB)
    assert any(answers(machine, "web") for _ in range(20))
    assert machine.ok("shell", "node-b", "--", "hostname") == "node-b\n"
    assert "10.244.2." in machine.ok("shell", "shell", "--", "ip", "-br", "a")
    assert machine.kproxy("shell", "node-a", "--", "sh", "-c", "exit 7").returncode == 7
    assert "10.96.0.10" in machine.ok("shell", "node-a", "--", "ipvsadm", "-Ln")
    os.kill(status["pid"], signal.SIGKILL)
    ended(status["pid"])
    machine.ok("clean", "--yes")
    assert machine.places() == []
    second = machine.values("up", "--nodes", "1", "--mode", "ipvs", "--kernel", "uml")
    assert machine.ok("down") == "lab is gone\n"
    ended(second["pid"])
    assert machine.places() == []


def test_a_lab_without_root(machine: Machine) -> None:
    """All of it is on user-mode Linux, and nobody needs to be asked for anything."""
    with ordinary_user(machine) as user:
        refused = user.kproxy("up", "--kernel", "host")
        assert refused.returncode == 1
        assert "without root: --kernel uml" in refused.stderr
        status = user.values("up", "--nodes", "2")
        assert status["kernel"] == "user-mode Linux"
        user.ok("apply", "-f", WEB)
        assert any(answers(user, "web") for _ in range(20))
        assert re.search(r"^web-2 +1/1 +Running ", user.ok("get", "pods"), re.MULTILINE)
        assert user.ok("shell", "node-a", "--", "hostname") == "node-a\n"
        assert user.ok("down") == "lab is gone\n"
        ended(status["pid"])
        assert user.processes() == []
        assert user.places() == []
        assert machine.places() == []


PARTS = {  # of a guest -> how its command line is known, the nearest process first
    "launcher": r".* -m kproxy\.kernel\.uml ",
    "keeper": r".*keeper\.py ",
    "kernel": r"\S*linux\.uml ",
}


@pytest.mark.parametrize("part", PARTS)
def test_whatever_of_a_guest_is_killed_nothing_is_left(machine: Machine, part: str) -> None:
    status = machine.values("up", "--nodes", "1", "--kernel", "uml")
    before = of_guest(status["pid"])
    victim = next(pid for pid, command in before.items() if re.match(PARTS[part], command))
    os.kill(victim, signal.SIGKILL)
    ended(status["pid"])
    machine.ok("clean", "--yes")
    assert machine.places() == []
    for pid in before:
        ended(pid)


def of_guest(pid: int) -> dict[int, str]:
    """Return the command lines of the processes below a process, the nearest first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found: dict[int, str] = {}
    for child in map(int, children):
        found[child] = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        found |= of_guest(child)
    return found
