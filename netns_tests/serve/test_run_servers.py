"""`kproxy run` serves its health and its metrics, in its namespace, as long as it runs."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

import pytest

from kproxy.cli.run import run
from kproxy.kernel import nfacct
from netns_tests.run.running import Place, until
from netns_tests.serve.asking import HEALTH, METRICS, Answer, ask, scrape, with_loopback
from tests.serve.kube_proxy_metrics import expected, of_kube_proxy, scraped

NODE = """
apiVersion: v1
kind: Node
metadata: {{name: node-a}}
spec: {{taints: [{taint}]}}
"""
GATE = "--feature-gates=KubeProxyNFTablesLocalhostNodePorts=true"
MODES = [  # mode, version, other arguments -> places in the table of metrics
    ("iptables", "1.36", (), ("all", "iptables", "nfacct")),
    ("iptables", "1.37", (), ("all", "iptables", "nfacct")),
    pytest.param("ipvs", "1.37", (), ("all", "ipvs"), marks=pytest.mark.ipvs),
    ("nftables", "1.36", ("--nodeport-addresses=127.0.0.0/8",), ("all", "nftables")),
    ("nftables", "1.37", ("--nodeport-addresses=localhost",), ("all", "nftables")),
    (
        "nftables",
        "1.37",
        (GATE, "--nodeport-addresses=localhost"),
        ("all", "nftables", "localhost"),
    ),
    ("nftables", "1.38-alpha", (GATE,), ("all", "nftables", "localhost")),
]


@pytest.fixture
def here(place: Place) -> Place:
    return with_loopback(place)


@pytest.mark.parametrize(("mode", "version", "arguments", "places"), MODES)
def test_each_mode_and_version_has_its_metrics(
    here: Place,
    service: Callable[..., str],
    mode: str,
    version: str,
    arguments: tuple[str, ...],
    places: tuple[str, ...],
) -> None:
    here.write("web.yaml", service("web", "10.96.0.1"))
    running = here.start(
        *("--manifests", str(here.folder), "--proxy-mode", mode, "--emulate", version), *arguments
    )
    shapes = of_kube_proxy(scraped(ask(here, "/metrics").body))
    wanted = expected(*places)
    if not _has_nfacct(here):
        wanted = {name: shape for name, shape in wanted.items() if name not in expected("nfacct")}
    assert shapes == wanted
    found = scrape(here)
    assert found[f'kproxy_build_info{{emulates="{version}",mode="{mode}",version="0.1.0"}}'] == 1
    assert found["process_resident_memory_bytes"] > 1 << 20
    assert ask(here, "/proxyMode") == Answer(200, mode)
    assert running.stop() == 0
    assert ask(here, "/metrics").status == ask(here, "/livez", HEALTH).status == 0


def _has_nfacct(place: Place) -> bool:
    return place.namespace.run(lambda: nfacct.ensure_counter("kproxy-probe"))


def test_a_node_that_is_going_away_is_not_eligible_but_lives(
    here: Place, service: Callable[..., str]
) -> None:
    here.write("web.yaml", service("web", "10.96.0.1"))
    here.write("node.yaml", NODE.format(taint="{key: other, effect: NoSchedule}"))
    here.start("--manifests", str(here.folder), "--emulate=1.36")

    def health() -> tuple[int, bool, bool]:
        answer = ask(here, "/healthz", HEALTH)
        body = json.loads(answer.body)
        return answer.status, body["healthy"], body["nodeEligible"]

    assert health() == (200, True, True)
    assert ask(here, "/healthz", HEALTH, address="::1").status == 200
    here.write("node.yaml", NODE.format(taint="{key: ToBeDeletedByClusterAutoscaler}"))
    until("not eligible", lambda: health() == (503, True, False))
    assert ask(here, "/livez", HEALTH).status == 200
    here.write("node.yaml", NODE.format(taint=""))
    until("eligible again", lambda: health() == (200, True, True))
    here.write("node.yaml", "# deleted\n---\n" + service("other", "10.96.0.2"))
    until("2 services", lambda: "10.96.0.2" in here.rules())
    assert health() == (200, True, True)  # the last one that was known counts
    found = scrape(here)
    assert found['kubeproxy_proxy_healthz_total{code="503"}'] >= 1
    assert found['kubeproxy_proxy_healthz_total{code="200"}'] >= 4
    assert found['kubeproxy_proxy_livez_total{code="200"}'] == 1
    assert ask(here, "/", HEALTH).status == 404


def test_without_a_node_object_a_start_says_why_healthz_fails(
    here: Place, service: Callable[..., str]
) -> None:
    here.write("web.yaml", service("web", "10.96.0.1"))
    running = here.start("--manifests", str(here.folder))
    assert "no Node node-a is known, so /healthz answers 503" in running.log
    assert ask(here, "/healthz", HEALTH).status == 503
    assert ask(here, "/livez", HEALTH).status == 200


def test_all_pages(here: Place, service: Callable[..., str]) -> None:
    here.write("web.yaml", service("web", "10.96.0.1"))
    arguments = ("--manifests", str(here.folder), "--proxy-mode=nftables", "--profiling")
    running = here.start(*arguments, "--masquerade-all")
    assert "/debug/pprof answers 404" in running.log
    assert ask(here, "/healthz") == ask(here, "/healthz/ping") == Answer(200, "ok")
    checks = 'kubernetes_healthchecks_total{name="ping",status="success",type="healthz"} 2.0'
    assert checks in ask(here, "/metrics/slis").body
    assert ask(here, "/metrics/slis", method="DELETE") == Answer(200, "metrics reset\n")
    assert ask(here, "/metrics/slis") == Answer(200, "")
    config = json.loads(ask(here, "/configz").body)["kubeproxy.config.k8s.io"]
    assert config["nodePortAddresses"] == ["primary"]  # before it was resolved
    assert config["nftables"]["masqueradeAll"] is True
    assert config["iptables"]["masqueradeAll"] is False
    flags = ask(here, "/flagz").body.splitlines()
    assert {"profiling=true", f"manifests={here.folder}", "iptables-sync-period=30s"} <= {*flags}
    assert (
        "\nPaths: /configz /debug /flagz /healthz /metrics /proxyMode\n"
        in ask(here, "/statusz").body
    )
    before = len(running.lines)
    assert ask(here, "/debug/flags/v", method="PUT", body="4").status == 200
    here.write("web.yaml", service("web", "10.96.0.2"))
    until("a debug line", lambda: any(" DEBUG " in line for line in running.lines[before:]))
    assert ask(here, "/nothing") == Answer(404, "404 page not found\n")


def test_gates_take_pages_away(here: Place, service: Callable[..., str]) -> None:
    here.write("web.yaml", service("web", "10.96.0.1"))
    gates = "--feature-gates=ComponentFlagz=false,ComponentStatusz=false"
    here.start("--manifests", str(here.folder), gates)
    assert {ask(here, f"/{page}").status for page in ("flagz", "statusz", "debug/flags/v")} == {404}
    assert ask(here, "/configz").status == 200


def test_flags_have_all_that_can_be_given(here: Place, service: Callable[..., str]) -> None:
    here.write("web.yaml", service("web", "10.96.0.1"))
    here.start("--manifests", str(here.folder))
    shown = {line.partition("=")[0] for line in ask(here, "/flagz").body.splitlines()[4:]}
    options = {name.removeprefix("--") for each in run.params for name in each.opts}
    of_modes = {"iptables-variant", "nftables-layout", "ipvs-local-fallback"}  # only if given
    assert options - shown == of_modes


def test_health_need_not_be_served(here: Place, service: Callable[..., str]) -> None:
    here.write("web.yaml", service("web", "10.96.0.1"))
    running = here.start("--manifests", str(here.folder), "--healthz-port=0")
    assert ask(here, "/livez", HEALTH).status == 0
    assert ask(here, "/healthz").status == 200
    assert "nodeEligible" not in running.log


def taken(place: Place, port: int) -> socket.socket:
    return place.namespace.run(lambda: socket.create_server(("", port)))


@pytest.mark.parametrize(("port", "name"), [(HEALTH, "health"), (METRICS, "metrics")])
def test_a_port_that_is_taken_may_end_the_process(
    here: Place, service: Callable[..., str], port: int, name: str
) -> None:
    here.write("web.yaml", service("web", "10.96.0.1"))
    with taken(here, port):
        failed = here.once("--manifests", str(here.folder), "--bind-address-hard-fail")
    assert failed.returncode == 1
    assert f"the {name} server cannot listen on " in failed.stderr
    assert f"{name}BindAddress".replace("health", "healthz") in failed.stderr
    assert here.rules() == ""


def test_a_port_that_is_taken_holds_nothing_up(here: Place, service: Callable[..., str]) -> None:
    here.write("web.yaml", service("web", "10.96.0.1"))
    with taken(here, METRICS):
        running = here.start("--manifests", str(here.folder))
        assert "the metrics server cannot listen on 127.0.0.1:10249" in running.log
        assert ask(here, "/livez", HEALTH).status == 200
    running.says("the metrics server listens on 127.0.0.1:10249 now")
    assert ask(here, "/healthz").status == 200
