"""`kproxy rules` from manifests: no root and no program of the kernel's is needed."""

from __future__ import annotations

import json

import pytest

from tests.cli.test_render import kproxy

WEB = "examples/load-balancer.yaml"
MODES = ("iptables", "nftables", "ipvs", "userspace")


@pytest.mark.parametrize("mode", MODES)
def test_the_rules_of_a_service(mode: str) -> None:
    done = kproxy("rules", "svc/api", "--manifests", WEB, "--mode", mode, "--node", "node-b")
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == f"default/api on node-b, as rendered: {mode} mode, IPv4"
    assert any("10.96.0.40" in line for line in rest)
    assert "IPv6" not in done.stdout  # it has no address there


@pytest.mark.parametrize("mode", MODES)
def test_json(mode: str) -> None:
    done = kproxy("rules", "svc/api:http", "--manifests", WEB, "--mode", mode, "--json")
    found = json.loads(done.stdout)
    assert found["service"] == "default/api:http"
    assert [each["family"] for each in found["blocks"]] == ["IPv4", "IPv6"]
    first, second = (each["rules"] for each in found["blocks"])
    assert second == []
    assert {frozenset(each) for each in first} == {
        frozenset({"table", "chain", "depth", "rule", "purpose", "packets"})
    }


@pytest.mark.parametrize("name", ["api.default", "api.default.svc.cluster.local"])
def test_a_service_may_be_named_with_its_namespace(name: str) -> None:
    done = kproxy("rules", f"svc/{name}:http", "--manifests", WEB, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["service"] == "default/api:http"


def test_two_modes_and_what_differs() -> None:
    done = kproxy("rules", "svc/api", "--manifests", WEB, "--diff", "iptables:legacy", "nftables")
    assert done.returncode == 0, done.stderr
    assert "iptables:legacy mode, IPv4" in done.stdout
    assert "nftables mode, IPv4" in done.stdout
    differs = done.stdout.partition("\nwhat differs in effect\n")[2]
    assert "node port on 127.0.0.1\n    iptables:legacy: works (IPv4)\n" in differs


def test_two_layouts_do_the_same() -> None:
    done = kproxy("rules", "svc/api", "--manifests", WEB, "--diff", "nftables", "nftables:flat")
    assert "nothing that is known differs in effect" in done.stdout
    assert "map endpoints-tcp" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("svc/", "--manifests", WEB), "expected svc/NAME or svc/NAME:PORT, got 'svc/'"),
        (("pod/api", "--manifests", WEB), "expected svc/NAME"),
        (("svc/web", "--manifests", WEB), "there is no Service default/web in --manifests"),
        (("svc/api", "-n", "shop", "--manifests", WEB), "there is no Service shop/api"),
        (("svc/api.shop", "--manifests", WEB), "there is no Service shop/api"),
        (("svc/api.", "--manifests", WEB), "expected svc/NAME"),
        (
            ("svc/api.default", "-n", "shop", "--manifests", WEB),
            "svc/api.default and --namespace shop: give one namespace",
        ),
        (("svc/api:https", "--manifests", WEB), "has no port https; it has: http"),
        (("svc/api", "--here", "--netns", "x"), "--netns and --here: give one of them"),
        (("svc/api", "--lab", "x", "--manifests", WEB), "--lab and --manifests"),
        (("svc/api", "--here", "--diff", "iptables", "ipvs"), "--diff: no kernel is read"),
        (("svc/api", "--manifests", WEB, "--diff", "ipvs", "ipvs"), "--diff: give two modes"),
        (
            ("svc/api", "--manifests", WEB, "--mode", "ipvs", "--diff", "ipvs", "nftables"),
            "no --mode",
        ),
        (("svc/api", "--lab", "nobody", "--diff", "ipvs", "nftables"), "no lab nobody is up"),
        (
            ("svc/api", "--lab", "x", "--mode", "ipvs"),
            "--diff MODE MODE, for what modes would write",
        ),
        (("svc/api", "--manifests", WEB, "--diff", "iptables", "ebpf"), "'ebpf' is not one of"),
        (("svc/api", "--manifests", WEB, "--diff", "iptables:x", "ipvs"), "one of nft, legacy"),
        (("svc/api", "--manifests", WEB, "--diff", "ipvs:x", "ipvs"), "it has none"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], told: str) -> None:
    done = kproxy("rules", *arguments)
    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())
    assert done.stdout == ""
