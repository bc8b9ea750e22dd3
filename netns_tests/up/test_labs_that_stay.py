"""`kproxy up` and the commands for the labs that it has started."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from netns_tests.up.machine import KPROXY, Machine


def test_up_tells_what_there_is_and_down_removes_it(machine: Machine) -> None:
    said = machine.ok("up")
    for part in ("node-c", "192.168.10.13, fd00:192::13", "outside", "iptables mode", "next: "):
        assert part in said
    assert [each["name"] for each in machine.values("ls")] == ["lab"]
    assert machine.ok("down") == "lab is gone\n"
    assert machine.values("ls") == []
    assert machine.places() == []


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_what_up_prints_fits_the_terminal(machine: Machine, columns: int) -> None:
    lines = machine.kproxy("up", columns=columns).stdout.splitlines()
    lines += machine.kproxy("ls", columns=columns).stdout.splitlines()
    lines += machine.kproxy("status", columns=columns).stdout.splitlines()
    assert max(map(len, lines)) <= columns


def test_status_of_a_lab(machine: Machine) -> None:
    machine.ok("up", "--nodes", "2", "--mode", "nftables", "--emulate", "1.36")
    status = machine.values("status")
    assert (status["mode"], status["emulates"]) == ("nftables", "1.36")
    assert [node["name"] for node in status["nodes"]] == ["node-a", "node-b"]
    assert all(node["healthy"] and not node["failures"] for node in status["nodes"])
    assert status["podsReady"] == len(status["pods"]) == 2
    assert 0 < status["memoryMiB"] < 80


def test_a_configuration_has_the_mode_and_its_options(machine: Machine, tmp_path: Path) -> None:
    config = tmp_path / "kube-proxy.yaml"
    config.write_text(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
        "mode: nftables\nbackendOptions: {nftablesLayout: flat}\n"
    )
    machine.ok("up", "--nodes", "1", "--config", str(config))
    assert machine.values("status")["mode"] == "nftables"
    assert machine.values("status")["options"] == {"nftablesLayout": "flat"}
    machine.ok("down")
    machine.ok("up", "--nodes", "1", "--config", str(config), "--mode", "iptables")
    assert machine.values("status")["mode"] == "iptables"


def test_the_name_of_a_lab_is_taken_once(machine: Machine) -> None:
    pid = json.loads(machine.ok("up", "--name", "shop", "--json"))["pid"]
    second = machine.kproxy("up", "--name", "shop")
    assert second.returncode == 2
    assert f"lab shop is up already, process {pid}" in second.stderr
    assert machine.values("status", "shop")["pid"] == pid


def test_of_two_at_once_one_is_up(machine: Machine) -> None:
    command = machine.argv(*KPROXY, "up", "--nodes", "1")
    both = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in "ab"
    ]
    assert sorted(each.wait(60) for each in both) == [0, 2]
    assert [each["state"] for each in machine.values("ls")] == ["running"]


def test_labs_have_the_same_addresses_side_by_side(machine: Machine) -> None:
    for name in ("one", "two"):
        machine.ok("up", "--name", name, "--nodes", "1")
    assert "which lab? there are: one, two" in machine.kproxy("status").stderr
    at_two = ("env", "KUBECONFIG=/run/kproxy/two/kubeconfig", *KPROXY)
    assert machine.run(*at_two, "status").stdout.split()[:2] == ["lab", "two"]
    asked = machine.run(*at_two, "down")
    assert asked.returncode == 2
    assert "which lab? there are: one, two" in asked.stderr
    addresses = {
        machine.ok("shell", "--lab", name, "node-a", "--", "ip", "-4", "-br", "a", "show", "eth0")
        for name in ("one", "two")
    }
    assert len({each.split()[2] for each in addresses}) == 1
    machine.ok("down", "one")
    assert [each["name"] for each in machine.values("ls")] == ["two"]


def test_a_lab_of_a_file_has_its_name(machine: Machine) -> None:
    said = machine.values("up", str(Path("examples/lab/services.yaml").resolve()))
    assert said["name"] == "services"
    assert [client["name"] for client in said["clients"]] == ["outside"]
    assert "database" in [pod["name"] for pod in said["pods"]]


def test_a_node_that_was_deleted_is_no_longer_told_of(machine: Machine) -> None:
    machine.ok("up", "--nodes", "2")
    machine.ok("delete", "node", "node-b")
    assert [node["deleted"] for node in machine.values("status")["nodes"]] == [False, True]
    said = machine.ok("status")
    assert "node-b: the host is there, and its Node is not" in said
    assert not any(line.startswith("node-b") for line in said.splitlines())
    (row,) = machine.ok("ls").splitlines()[1:]
    assert row.split()[3] == "1"
    assert machine.ok("shell", "node-b", "--", "hostname") == "node-b\n"


def test_a_shell_is_on_its_host(machine: Machine) -> None:
    machine.ok("up", "--nodes", "1")
    assert machine.ok("shell", "node-a", "--", "hostname") == "node-a\n"
    assert "nameserver 10.96.0.10" in machine.ok("shell", "shell", "cat", "/etc/resolv.conf")
    assert "kube-dns" in machine.ok(
        "shell", "shell", "--", "getent", "hosts", "kube-dns.kube-system.svc.cluster.local"
    )
    assert machine.kproxy("shell", "node-a", "--", "sh", "-c", "exit 7").returncode == 7
    assert machine.kproxy("shell", "node-a", "--", "no-such-program").returncode == 127
    nested = machine.kproxy("shell", "node-a", "--", *KPROXY, "up", "--name", "nested")
    assert nested.returncode == 2
    assert "what is started here ends with that" in nested.stderr
    unknown = machine.kproxy("shell", "node-z", "--", "true")
    assert unknown.returncode == 2
    assert "no host 'node-z'; there are: node-a" in unknown.stderr


def test_rules_are_repaired(machine: Machine) -> None:
    machine.ok("up", "--nodes", "1", "--mode", "nftables")
    machine.ok("shell", "node-a", "--", "nft", "delete", "table", "ip", "kube-proxy")
    with subprocess.Popen(
        machine.argv(*KPROXY, "logs", "--follow"), stdout=subprocess.PIPE, text=True
    ) as log:
        assert log.stdout
        assert any("IPv4 rules were changed by another process" in line for line in log.stdout)
        log.terminate()
    machine.ok("shell", "node-a", "--", "nft", "list", "table", "ip", "kube-proxy")


BAD = [  # arguments, what is said
    (("up", "--name", "A/b"), "'A/b' cannot be the name of a lab"),
    (("up", "--name", ".."), "'..' cannot be the name of a lab"),
    (("up", "--name", "labs"), "'labs' is reserved"),
    (("up", "--nodes", "201"), "nodes: 201 are more than 200"),
    (("up", "--nodes", "1000"), "--nodes: 1000 are more than 200"),
    (("up", "--proxy-command", "no-proxy {config}"), "there is no program no-proxy"),
    (("demo", "--proxy-command", "no-proxy"), "there is no program no-proxy"),
    (("up", "examples/services/cluster-ip.yaml"), "this is a manifest of Kubernetes, not"),
    (("up", "no-such-file.yaml"), "no-such-file.yaml: No such file or directory"),
    (("up", "--network", "carrier-pigeon"), "network: 'carrier-pigeon' is none of"),
    (("up", "--proxy-command", "'"), "--proxy-command: No closing quotation"),
    (("up", "--proxy", "none", "--proxy-command", "true"), "give only one of them"),
    (("down", "nobody"), "no lab nobody is up"),
    (("status",), "which lab? there is none"),
    (("kubeconfig",), "which lab? there is none"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=lambda each: str(each)[:30])
def test_bad_input_changes_nothing(machine: Machine, arguments: tuple[str, ...], said: str) -> None:
    done = machine.kproxy(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert machine.places() == []


def test_a_lab_that_cannot_be_built_leaves_nothing(machine: Machine) -> None:
    """Its process fails, and `up` says why."""
    unprivileged = machine.run(
        "setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", *KPROXY, "up"
    )
    assert unprivileged.returncode == 1
    assert "cannot create a network namespace: Operation not permitted" in unprivileged.stderr
    assert machine.places() == []


COMPLETED = [  # the command line so far, its last word unfinished -> what completes it
    ("get --lab l", "lab"),
    ("get se", "secrets services serviceaccounts servicecidrs"),
    ("get svc,endpoint", "svc,endpoints svc,endpointslices"),
    ("get pods s", "shell"),
    ("get pods -n kube-system c", "coredns-1"),
    ("get -n kube-system pods c", "coredns-1"),
    ("get -n kube-", "kube-node-lease kube-public kube-system"),
    ("get endpoints k", "kubernetes"),  # no word of its being deprecated
    ("get svc/k", "svc/kubernetes"),
    ("delete j", ""),  # there are no jobs to delete
    ("delete pods shell s", ""),
    ("scale d", "deployments"),
    ("exec s", "shell"),
    ("exec -n kube-system ", "coredns-1"),
    ("shell node", "node-a node-b"),
    ("shell o", "outside"),
    ("logs --node node-", "node-a node-b"),
    ("kubeconfig l", "lab"),
    ("get ships s", ""),
    ("get --lab other s", ""),
]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_words_are_completed(machine: Machine, shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.ok("up", "--nodes", "2")
    monkeypatch.setenv("_KPROXY_COMPLETE", f"{shell}_complete")
    for number, (line, expected) in enumerate(COMPLETED):
        words = f"kproxy {line}"
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
        done = machine.kproxy() if number else machine.run(*KPROXY)  # once as a shell does
        told = done.stdout.split("\n")[:-1]
        found = [each[6:] for each in told if each] if shell == "bash" else told[1::3]
        assert (" ".join(found), done.stderr) == (expected, ""), line


def test_a_full_disk_is_named_and_nothing_stays(machine: Machine) -> None:
    machine.run("mkdir", "/run/kproxy")
    machine.run("mount", "-t", "tmpfs", "-o", "nr_inodes=3", "tmpfs", "/run/kproxy")
    done = machine.kproxy("up", "--name", "small", "--nodes", "1")
    assert done.returncode == 1
    assert re.fullmatch(r"kproxy: cannot write \S+: No space left on device\n", done.stderr)
    assert machine.places() == ["/run/kproxy"]
