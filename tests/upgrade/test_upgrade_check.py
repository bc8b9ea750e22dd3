"""Differences between two versions or modes, for given objects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import (
    Endpoint,
    EndpointConditions,
    KubernetesObject,
    Metadata,
    Node,
    NodeAddress,
    NodeStatus,
    ServicePort,
)
from kproxy.cli import main
from kproxy.lab import example
from kproxy.lab.objects import service
from kproxy.sources.files import Manifests
from kproxy.upgrade.check import Report, check
from kproxy.upgrade.lasting import Event
from kproxy.upgrade.questions import place
from kproxy.upgrade.report import summary, values
from kproxy.upgrade.side import configured, parse_side
from tests.upgrade.objects import endpoints

HEAD = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
RECORDED = Path(__file__).parents[2] / "netns_tests" / "conformance" / "cases"
CASES = sorted(RECORDED.glob("*/kube-proxy.nftables"))
EXAMPLES = str(example("."))


def compared(
    objects: list[KubernetesObject],
    before: str,
    after: str,
    tmp_path: Path | None = None,
    body: str = "",
) -> Report:
    path = None
    if tmp_path:
        path = tmp_path / "config.conf"
        path.write_text(HEAD + body)
    one, other = (configured(parse_side(side), path) for side in (before, after))
    return check(objects, one, other, path)[0]


def read(path: Path | str) -> list[KubernetesObject]:
    decoded = Manifests([str(path)]).read()
    assert not decoded.problems
    return list(decoded.objects)


WEB = service(
    "web",
    type="NodePort",
    cluster_ips=["10.96.0.10"],
    ports=[ServicePort(port=80, target_port=8080, node_port=30080)],
)
DNS = service(
    "dns",
    cluster_ips=["10.96.0.11"],
    ports=[ServicePort(name="dns", protocol="UDP", port=53)],
)
PLAIN: list[KubernetesObject] = [
    *(
        Node(
            metadata=Metadata(name=name, namespace=""),
            status=NodeStatus(addresses=(NodeAddress(type="InternalIP", address=address),)),
        )
        for name, address in (("one", "172.16.0.1"), ("two.example.com", "172.16.0.2"))
    ),
    WEB,
    *endpoints(WEB, "one 10.1.0.5", "two.example.com 10.1.1.5"),
    DNS,
    *endpoints(DNS, "one 10.1.0.6", "one 10.1.0.7"),
]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.parent.name)
def test_the_services_whose_rules_differ_in_1_37_are_named(path: Path) -> None:
    """They are those with a chain that has one endpoint, which the recordings show."""
    config = path.with_name("config.yaml")
    sides = [configured(parse_side(f"{each}:nftables"), config) for each in ("1.36", "1.37")]
    report, _ = check(read(path.with_name("objects.yaml")), sides[0], sides[1], config)
    recorded = path.read_text()
    found = {each.service for each in report.rules}
    assert bool(found) == ("numgen random mod 1 map" in recorded)
    assert found <= {*report.services}
    assert {each.service for each in report.affected if each.rules} == found
    assert not report.answers


@pytest.mark.parametrize("mode", ["iptables", "ipvs"])
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.parent.name)
def test_1_37_changes_no_rules_in_other_modes(path: Path, mode: str) -> None:
    config = path.with_name("config.yaml")
    sides = [configured(parse_side(f"{each}:{mode}"), config) for each in ("1.36", "1.38-alpha")]
    report, _ = check(read(path.with_name("objects.yaml")), sides[0], sides[1], config)
    assert report.rules == ()
    assert report.answers == ()


def test_a_diff_of_rules() -> None:
    report = compared(read(EXAMPLES), "1.36:nftables", "1.37:nftables")
    (found,) = report.rules
    assert (found.service, found.family, found.node) == (
        "default/shop-local",
        Family.IPV4,
        "node-a",
    )
    (chain,) = found.chains
    assert chain.place.startswith("kube-proxy chain local-")
    assert chain.removed == (
        "meta l4proto tcp dnat ip to numgen random mod 1 map { 0 : 10.244.1.12 . 8080 }",
    )
    assert chain.added == ("meta l4proto tcp dnat to 10.244.1.12:8080",)


def test_udp_clients() -> None:
    report = compared(PLAIN, "1.36", "1.38-alpha")
    assert [
        (str(each.service), each.event, each.before, each.after) for each in report.lasting
    ] == [
        ("default/dns:dns", Event.ENDPOINTS_GO, True, False),
        ("default/dns:dns", Event.SERVICE_GOES, True, False),
    ]
    names = {each.name: each.services for each in report.behaviours}
    assert names["cuts-unserved-udp"] == names["cuts-removed-udp"] == ("default/dns",)
    assert [each.service for each in report.affected] == ["default/dns"]
    ipvs = compared(PLAIN, "1.36:ipvs", "1.38-alpha:ipvs")  # IPVS ends them itself
    assert (ipvs.lasting, ipvs.affected) == ((), ())
    assert [each.event for each in compared(PLAIN, "1.37", "1.38-alpha").lasting] == [
        Event.SERVICE_GOES
    ]


def test_the_last_line_counts_each_service_that_is_affected() -> None:
    """A Service whose UDP clients nobody asks about has no other rules and no other packets."""
    local = replace(DNS, spec=replace(DNS.spec, internal_traffic_policy="Local"))
    objects = [*PLAIN[:2], local, *endpoints(local, "one 10.1.0.6")]
    report = compared(objects, "1.36", "1.38-alpha")
    (line,) = summary(report)
    assert line.startswith("1 of 1 Services affected: other rules for 0, ")
    assert line.endswith(", other ends of packets for 0, only other behaviours for 1")
    assert [*summary(compared(PLAIN, "1.36", "1.38-alpha"))] == [
        "1 of 2 Services affected: other rules for 0, other ends of packets for 1"
    ]


def test_nothing_differs_from_itself() -> None:
    report = compared(PLAIN, "1.37:nftables", "1.37:nftables")
    assert (report.affected, report.said, report.gates, report.values) == ((), (), (), ())
    assert (report.behaviours, report.rules, report.answers, report.lasting) == ((), (), (), ())
    assert report.asked > 20


def test_a_migration_of_modes(tmp_path: Path) -> None:
    body = "clusterCIDR: 10.1.0.0/16\nipvs: {scheduler: sh, strictARP: true}\n"
    report = compared(PLAIN, "1.36:ipvs", "1.37:nftables", tmp_path, body)
    settings = {each.name: (each.before, each.after) for each in report.values}
    assert settings["mode"] == ("ipvs", "nftables")
    assert settings["ipvs.scheduler"] == ("sh", "-")
    assert settings["nodePortAddresses"] == (
        "all addresses",
        "IPv4: 172.16.0.1/32; IPv6: all addresses",
    )
    told = {each.what: each.services for each in report.modes}
    assert told["choice of the endpoint"] == ("default/dns", "default/web")
    assert "session affinity ends" not in told
    asks = {(each.question.client, each.question.asks) for each in report.answers}
    assert ("a pod on one", "node port of another address of one") in asks
    assert {each.service for each in report.rules} == {"", "default/dns", "default/web"}
    answers = {
        str(each.after) for each in report.answers if "another address" in each.question.asks
    }
    assert answers == {"refused"}


REFUSED = [  # configuration, sides -> which one refuses, why
    ("nodePortAddresses: [primary, localhost]", "1.36", "1.37", "1.36 iptables",
     "nodePortAddresses: 'primary' must be the only entry"),
    ("featureGates: {PreferSameTrafficDistribution: true}", "1.37", "1.38-alpha",
     "1.38-alpha iptables", "featureGates.PreferSameTrafficDistribution: unknown"),
    ("featureGates: {KubeProxyIPVS: false}", "1.37:ipvs", "1.37:nftables", "1.37 ipvs",
     "mode: ipvs needs feature gate KubeProxyIPVS"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "before", "after", "side", "why"), REFUSED)
def test_a_configuration_that_one_side_refuses(
    tmp_path: Path, body: str, before: str, after: str, side: str, why: str
) -> None:
    report = compared(PLAIN, before, after, tmp_path, body)
    assert {each.side for each in report.refused} == {side}
    assert any(why in each.text for each in report.refused)
    assert report.left_out
    assert report.rules == ()
    assert values(report)["refused"]


APPLYING = [  # configuration, sides, a behaviour that applies or not
    ("", "1.36", "1.37", "warns-of-unset-mode", True),
    ("mode: iptables", "1.36", "1.37", "warns-of-unset-mode", False),
    ("", "1.36", "1.37", "exits-with-its-node", True),
    ("mode: ipvs", "1.36", "1.37", "ipvs-gate", True),
    ("mode: nftables", "1.36", "1.37", "ipvs-gate", False),
    ("mode: nftables\nnodePortAddresses: [172.16.0.0/16, 127.0.0.0/8]", "1.36", "1.37",
     "loopback-listed-silently", True),
    ("mode: nftables\nnodePortAddresses: [172.16.0.0/16]", "1.36", "1.37",
     "loopback-listed-silently", False),
    ("nodePortAddresses: [all]", "1.37", "1.38-alpha", "node-port-keywords", False),
    ("conntrack: {maxPerCore: 0}", "1.37", "1.38-alpha", "conntrack-max-not-lowered", False),
    ("", "1.37", "1.38-alpha", "conntrack-max-not-lowered", True),
    ("mode: nftables", "1.36", "1.37", "localhost-node-ports", False),
    ("mode: nftables", "1.36", "1.37", "comments-cut", False),
]  # fmt: skip


@pytest.mark.parametrize(("body", "before", "after", "name", "applies"), APPLYING)
def test_behaviours_that_apply(
    tmp_path: Path, body: str, before: str, after: str, name: str, applies: bool
) -> None:
    report = compared(PLAIN, before, after, tmp_path, body)
    assert (name in {each.name for each in report.behaviours}) == applies
    back = compared(PLAIN, after, before, tmp_path, body)
    assert [each.begins for each in back.behaviours if each.name == name] == [False] * applies


def test_a_service_that_makes_1_36_fail() -> None:
    long = service("a" * 63, namespace="b" * 63, cluster_ips=["10.96.0.12"], ports=[
        ServicePort(name="c" * 15, port=80)
    ])  # fmt: skip
    report = compared([*PLAIN, long], "1.36:nftables", "1.37:nftables")
    (cut,) = [each for each in report.behaviours if each.name == "comments-cut"]
    assert cut.services == (f"{'b' * 63}/{'a' * 63}",)


def test_policy_local_makes_1_36_fail_where_there_is_no_endpoint() -> None:
    long = service("a" * 63, namespace="b" * 63, cluster_ips=["10.96.0.12"], ports=[
        ServicePort(name="c" * 15, port=80)
    ])  # fmt: skip
    local = replace(long, spec=replace(long.spec, internal_traffic_policy="Local"))
    for made, fails in ((long, False), (local, True)):
        objects = [*PLAIN, made, *endpoints(made, "one 10.1.0.9")]
        report = compared(objects, "1.36:nftables", "1.37:nftables")
        assert ("comments-cut" in {each.name for each in report.behaviours}) == fails


def test_one_endpoint_is_told_from_other_reasons_why_rules_differ(tmp_path: Path) -> None:
    two = service("two", type="NodePort", cluster_ips=["10.96.0.13"], ports=[
        ServicePort(port=80, node_port=30081)
    ])  # fmt: skip
    one = service("one", cluster_ips=["10.96.0.14"], ports=[ServicePort(port=80)])
    objects = [*PLAIN[:2], two, *endpoints(two, "one 10.1.0.5", "one 10.1.0.6")]
    objects += [one, *endpoints(one, "one 10.1.0.5")]
    gate = "featureGates: {AllAlpha: true}"
    report = compared(objects, "1.36:nftables", "1.37:nftables", tmp_path, gate)
    assert {each.service for each in report.rules} == {"", "default/one", "default/two"}
    applying = {each.name: each.services for each in report.behaviours}
    assert applying["single-endpoint-dnat"] == ("default/one",)


def test_settings_are_those_of_the_node_that_the_configuration_names(tmp_path: Path) -> None:
    for body, address in (("", "172.16.0.1"), ("hostnameOverride: Two.example.com", "172.16.0.2")):
        report = compared(PLAIN, "1.36:iptables", "1.37:nftables", tmp_path, body)
        (ports,) = [each.after for each in report.values if each.name == "nodePortAddresses"]
        assert f"IPv4: {address}/32" in ports
        assert {each.node for each in report.rules} <= {"one", "two.example.com"}


def test_without_settings_for_a_node_all_else_is_compared(tmp_path: Path) -> None:
    body = "detectLocalMode: NodeCIDR"
    report = compared(PLAIN, "1.36:nftables", "1.37:nftables", tmp_path, body)
    assert report.rules == ()
    assert report.behaviours
    assert any("no Node one with spec.podCIDRs" in each for each in report.left_out)


def test_external_addresses_of_nodes_and_endpoints_of_no_node() -> None:
    vip = service("vip", cluster_ips=["10.96.0.15"], ports=[ServicePort(port=80)])
    vip = replace(vip, spec=replace(vip.spec, external_ips=("172.16.0.1",)))
    (slice_,) = endpoints(vip, "one 10.1.0.5")
    nowhere = replace(slice_.endpoints[0], node_name=None)
    ending = replace(nowhere, conditions=EndpointConditions(ready=False, terminating=True))
    gone = replace(nowhere, conditions=EndpointConditions(ready=False))

    def found(nodes: int, endpoint: Endpoint) -> set[str]:
        objects = [*PLAIN[:nodes], vip, replace(slice_, endpoints=(endpoint,))]
        report = compared(objects, "1.36:ipvs", "1.37:iptables")
        return {each.what for each in report.modes}

    unserved = "a VIP without endpoints, from the node itself"
    assert unserved not in found(1, nowhere) | found(1, ending)
    assert unserved in found(1, gone)
    anothers = "an external IP that is another node's address"
    assert anothers not in found(1, nowhere)
    assert anothers in found(2, nowhere)


def test_the_lab_of_a_cluster_keeps_what_matters() -> None:
    one, other = (configured(parse_side(side), None) for side in ("1.36", "1.37"))
    _, model = check(PLAIN, one, other)
    assert model is not None
    assert [node.name for node in model.spec.nodes] == ["one", "two-example-com"]
    assert model.name("two-example-com") == "two.example.com"
    assert model.translation.address("172.16.0.2") == "192.168.10.12"
    assert model.translation.address("10.96.0.10") == "10.96.0.10"
    pods = {model.name(pod.name): node.name for node in model.spec.nodes for pod in node.pods}
    assert pods["10.1.1.5"] == "two-example-com"


def test_the_lab_avoids_the_addresses_of_services() -> None:
    taken = service("taken", cluster_ips=["10.244.7.7"], ports=[ServicePort(port=80)])
    one, other = (configured(parse_side(side), None) for side in ("1.36", "1.37"))
    _, model = check([*PLAIN, taken], one, other)
    assert model is not None
    assert model.spec.pod_cidrs[0] == "172.28.0.0/16"


def test_an_endpoint_on_the_host_network_answers() -> None:
    host = [*PLAIN[:3], *endpoints(WEB, "one 172.16.0.1")]
    report = compared(host, "1.36:iptables", "1.37:nftables")
    answers = {str(each.before) for each in report.answers if "127.0.0.1" in each.question.asks}
    assert answers == {"delivered: one sees one", "delivered: one sees two.example.com"}


def test_as_much_is_asked_about_the_last_port() -> None:
    asked = {
        compared([*PLAIN[:2], each], "1.36:iptables", "1.37:nftables").asked
        for port in (80, 65535)
        for each in [service("a", cluster_ips=["10.96.0.16"], ports=[ServicePort(port=port)])]
    }
    assert len(asked) == 1


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["upgrade-check", "--manifests", EXAMPLES, "--json"]
    with pytest.raises(SystemExit) as done:
        main([*arguments, "--mode", "nftables", "--mode", "iptables"])
    assert done.value.code == 0
    nftables, iptables = json.loads(capsys.readouterr().out)
    assert nftables["from"] == {"version": "1.36", "mode": "nftables"}
    assert nftables["to"] == {"version": "1.37", "mode": "nftables"}
    assert [each["service"] for each in nftables["affected"] if each["rules"]] == [
        "default/shop-local"
    ]
    assert iptables["rules"] == []
    assert [each["service"] for each in iptables["affected"]] == ["default/web"]  # it has UDP


@pytest.mark.parametrize("columns", ["60", "120"])
def test_the_text_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit):
        main(["upgrade-check", "--from=1.36:ipvs", "--to=1.37:nftables", "--manifests", EXAMPLES])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= int(columns)
    assert "6 of 6 Services affected" in text


def test_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    with pytest.raises(SystemExit):
        main(["upgrade-check", "--mode=nftables", "--manifests", EXAMPLES, f"--html={page}"])
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert "+ meta l4proto tcp dnat to 10.244.1.12:8080</span>" in text
    capsys.readouterr()


MISTAKES = [
    (["--from=1.35"], "kube-proxy 1.35 is not emulated"),
    (["--to=1.37:ebpf"], "'ebpf' is not one of iptables"),
    (["--from=1.36:ipvs", "--mode=iptables"], "--mode: name the mode there, or as VERSION:MODE"),
    (["--config=/nowhere/conf.yaml"], "--config: there is no file /nowhere/conf.yaml"),
    (["--html=/nowhere/page.html"], "there is no folder /nowhere"),
]


@pytest.mark.parametrize(("arguments", "said"), MISTAKES)
def test_mistakes(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as done:
        main(["upgrade-check", "--manifests", EXAMPLES, *arguments])
    assert done.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_the_place_of_a_question() -> None:
    report = compared(PLAIN, "1.36:iptables", "1.37:nftables")
    places = {place(each.question) for each in report.answers}
    assert "127.0.0.1:30080/TCP" in places
