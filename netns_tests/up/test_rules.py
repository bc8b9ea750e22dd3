"""`kproxy rules` of a lab, a namespace and a machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netns_tests.run.running import until
from netns_tests.up.machine import KPROXY, Machine, private_machine

EXAMPLE = "examples/services/node-port.yaml"
CLUSTER_IP = "10.96.0.20"
SYSTEM = ("-n", "kube-system")
STORED = "examples/node-port-cluster.yaml"  # with EndpointSlices


@pytest.fixture(scope="module")
def small() -> Iterator[Machine]:
    """Yield a machine whose lab has one node."""
    with private_machine() as found:
        found.ok("up", "--nodes", "1", "--mode", "nftables")
        yield found


def rules(values: Any, family: str = "IPv4") -> list[dict[str, Any]]:
    (block,) = (each for each in values["blocks"] if each["family"] == family)
    found: list[dict[str, Any]] = block["rules"]
    return found


def counted(found: list[dict[str, Any]], *words: str) -> int:
    (packets,) = (each["packets"] for each in found if all(word in each["rule"] for word in words))
    assert isinstance(packets, int)
    return packets


def test_a_packet_in_a_lab_is_counted(machine: Machine) -> None:
    machine.ok("up", "--nodes", "1")
    machine.ok("apply", "-f", EXAMPLE)
    service = json.loads(machine.ok("get", "svc", "shop", "-o", "json"))
    port = service["spec"]["ports"][0]["nodePort"]
    node = machine.values("status")["nodes"][0]["addresses"][0]
    words = (f"--dport {port} -j KUBE-EXT-",)
    assert counted(rules(machine.values("rules", "svc/shop")), *words) == 0
    machine.ok("shell", "outside", "--", "curl", "-sf", f"http://{node}:{port}")
    assert counted(rules(machine.values("rules", "svc/shop:80")), *words) == 1
    text = machine.ok("rules", "svc/shop", "--node", "node-a", "--lab", "lab")
    assert "default/shop on node-a of lab lab: iptables mode, IPv4" in text
    assert "# takes packets to the node port" in text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("svc/shop",), "there is no Service default/shop; there are: default/kubernetes"),
        (("svc/kubernetes", "--node", "x"), "the lab has no node 'x'; it has: node-a"),
        (("svc/kubernetes:80",), "has no port 80; it has: https"),
        (("svc/kubernetes", "--lab", "other"), "no lab other is up"),
    ],
)
def test_what_a_lab_has_not(small: Machine, arguments: tuple[str, ...], told: str) -> None:
    done = small.kproxy("rules", *arguments)
    assert done.returncode == 2
    assert told in done.stderr


def test_a_mode_that_counts_nothing_says_so_once(small: Machine) -> None:
    text = small.ok("rules", "svc/kube-dns", "-n", "kube-system")
    assert text.count("IPv4") == text.count("IPv6") == 1
    assert text.count("these rules of nftables mode do not count any") == 1


def test_two_modes_for_the_objects_of_a_lab(machine: Machine) -> None:
    """The configuration is that of the lab's node."""
    machine.ok("up", "--nodes", "2", "--mode", "nftables")
    diff = ("--diff", "iptables", "ipvs")
    found = machine.values("rules", "svc/kube-dns", "-n", "kube-system", "--family", "4", *diff)
    iptables, ipvs = found["blocks"]
    assert (iptables["of"], ipvs["of"]) == ("node-a, as rendered",) * 2
    assert "! -s 10.244.0.0/16 -d 10.96.0.10/32" in str(iptables["rules"])
    assert "-A -u 10.96.0.10:53 -s rr" in str(ipvs["rules"])
    assert found["differences"]
    done = machine.kproxy("rules", "svc/web", *diff)
    assert "there is no Service default/web in lab lab; there are: default/kuber" in done.stderr


def test_another_proxy_of_a_lab(machine: Machine) -> None:
    """The mode is that of the rules on the node; the plan is made from the lab's objects."""
    proxy = f"{sys.executable} -m kproxy run --config {{config}}"
    machine.ok("up", "--nodes", "1", "--mode", "nftables", "--proxy-command", proxy)
    until("it has rules", lambda: machine.kproxy("rules", "svc/kube-dns", *SYSTEM).returncode == 0)
    (block, _) = machine.values("rules", "svc/kube-dns", *SYSTEM)["blocks"]
    assert (block["mode"], block["of"]) == ("nftables", "node-a of lab lab")
    assert "10.96.0.10" in str(block["rules"])


def test_no_proxy_in_a_lab(machine: Machine) -> None:
    machine.ok("up", "--nodes", "1", "--proxy", "none")
    done = machine.kproxy("rules", "svc/kubernetes")
    assert done.returncode == 2
    assert "no rules of any service proxy" in done.stderr


def test_ipvs_on_user_mode_linux(machine: Machine) -> None:
    machine.ok("up", "--nodes", "1", "--mode", "ipvs", "--kernel", "uml")
    found = rules(machine.values("rules", "svc/kubernetes"))
    servers = [each for each in found if each["table"] == "ipvs"]
    assert [each["chain"] for each in servers] == ["virtual servers", "real servers"]
    assert "-A -t 10.96.0.1:443" in servers[0]["rule"]
    assert "connections: 0 active, 0 inactive" in servers[1]["rule"]
    assert all(each["packets"] is not None for each in found if each["table"] in ("ipvs", "nat"))
    assert {"KUBE-CLUSTER-IP", "KUBE-IPVS-IPS"} <= {each["chain"] for each in found}


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_a_namespace(machine: Machine, mode: str) -> None:
    """The rules that `kproxy run` has left, by the Service's name or with its objects."""
    assert machine.run("ip", "netns", "add", "node").returncode == 0
    try:
        machine.ok("run", "--once", "--netns", "node", "--manifests", STORED, "--proxy-mode", mode)
        found = machine.values("rules", "svc/shop", "--netns", "node")
        assert [each["mode"] for each in found["blocks"]] == [mode, mode]
        by_name = [each["rule"] for each in rules(found)]
        assert any(CLUSTER_IP in each for each in by_name)
        with_objects = ("--netns", "node", "--manifests", STORED, "--node", "node")
        known = rules(machine.values("rules", "svc/shop", *with_objects))
        assert [each["rule"] for each in known] == by_name
        inside = machine.run("ip", "netns", "exec", "node", *KPROXY, "rules", "svc/shop", "--here")
        assert f"default/shop on this machine: {mode} mode, IPv4" in inside.stdout
        nobody = machine.kproxy("rules", "svc/nobody", "--netns", "node")
        assert nobody.returncode == 2
        assert "no rule names Service default/nobody" in nobody.stderr
    finally:
        machine.run("ip", "netns", "delete", "node")


def test_without_a_kernel_nothing_is_needed(machine: Machine, tmp_path: Path) -> None:
    found = machine.values("rules", "svc/shop", "--manifests", STORED)
    assert {each["packets"] for each in rules(found)} == {None}
    done = machine.kproxy("rules", "svc/nobody", "--manifests", STORED)
    assert done.returncode == 2
    assert "there is no Service default/nobody" in done.stderr
    done = machine.kproxy("rules", "svc/shop", "--manifests", str(tmp_path))
    assert done.returncode == 2
    assert "no manifest in this folder" in done.stderr


def test_a_mode_that_forwards_itself(machine: Machine) -> None:
    """Only its process knows what it does."""
    machine.ok("up", "--nodes", "1", "--mode", "userspace")
    found = rules(machine.values("rules", "svc/kube-dns", *SYSTEM))
    assert {each["table"] for each in found} == {"addresses", "listeners"}
    assert {"10.96.0.10:53/TCP", "10.96.0.10:53/UDP"} == {
        each["chain"] for each in found if each["table"] == "listeners"
    }
