"""A `kproxy run` whose API server is not there, or not yet whole: it serves, and can be stopped."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kproxy.bench.api_server import Collection
from netns_tests.run.running import Place, Running, until
from netns_tests.run.test_run_process import Manager
from netns_tests.serve.asking import HEALTH, METRICS, Answer, ask, scrape, with_loopback
from netns_tests.source.served import Cluster, cluster, events_of

Text = Callable[..., str]
SERVICES = "/api/v1/services"
NODE = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "node-a"}}
TAINTED = NODE | {
    "spec": {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]}
}
PAGES = {
    "/healthz": "ok",
    "/proxyMode": "iptables",
    "/configz": '"hostnameOverride"',
    "/flagz": "hostname-override=node-a",
    "/statusz": "Paths",
    "/metrics/slis": "kubernetes_healthcheck",
}


@pytest.fixture
def made(tmp_path: Path, service: Text) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    with cluster(folder) as each:
        each.put_text(service("web", "10.96.0.1"))
        yield each


@pytest.fixture
def here(place: Place) -> Place:
    return with_loopback(place)


def _without_services(made: Cluster) -> Collection:
    """Have the API server deny that there are Services, until its collection is put back."""
    return made.served.collections.pop(SERVICES)


def _health(place: Place, path: str) -> tuple[int, dict[str, object]]:
    answer = ask(place, path, HEALTH)
    return answer.status, json.loads(answer.body)


def _served(place: Place, running: Running) -> None:
    """Wait until both servers listen, the health server first."""
    until("servers", lambda: ask(place, "/healthz").status > 0)
    assert running.process.poll() is None, running.log


def test_health_and_metrics_before_the_node_is_known(here: Place, made: Cluster) -> None:
    kubeconfig = made.kubeconfig
    made.go()
    running = here.start_without_waiting("--kubeconfig", kubeconfig)
    running.says("cannot read nodes ")
    _served(here, running)
    status, told = _health(here, "/healthz")
    assert status == 503
    assert [*told] == ["lastUpdated", "currentTime", "nodeEligible", "healthy"]
    assert told["lastUpdated"] == "0001-01-01T00:00:00Z"
    assert (told["nodeEligible"], told["healthy"]) == (False, True)
    status, told = _health(here, "/livez")
    assert status == 200
    assert [*told] == ["lastUpdated", "currentTime", "healthy"]
    for path, text in PAGES.items():
        answer = ask(here, path)
        assert answer.status == 200, path
        assert text in answer.body
    samples = scrape(here)
    host = made.served.url.removeprefix("https://")
    assert samples[f'rest_client_requests_total{{code="<error>",host="{host}",method="GET"}}'] > 0
    assert samples["kproxy_api_server_away_seconds"] > 0
    assert samples['kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"}'] == 0
    assert "KUBE-" not in here.rules()
    assert "/healthz answers 503" not in running.log  # it is no mistake of anybody

    made.come_back()
    running.says("ready: ")
    assert "10.96.0.1" in here.rules()
    status, told = _health(here, "/healthz")
    assert (status, [*told][-1]) == (200, "status")
    assert scrape(here)["kproxy_api_server_away_seconds"] == 0
    assert running.stop() == 0


def test_the_node_counts_as_soon_as_it_is_known(here: Place, made: Cluster) -> None:
    services = _without_services(made)
    running = here.start_without_waiting("--kubeconfig", made.kubeconfig)
    running.says("cannot read services ")
    until("an eligible node", lambda: ask(here, "/healthz", HEALTH).status == 200)
    _, told = _health(here, "/healthz")
    families = told["status"]
    assert isinstance(families, dict)
    assert {name: each["healthy"] for name, each in families.items()} == {
        "IPv4": True,
        "IPv6": True,
    }
    until("the Event", lambda: ("Starting", "Node", "node-a") in events_of(made))
    made.put(TAINTED)
    until("the taint", lambda: ask(here, "/healthz", HEALTH).status == 503)
    assert ask(here, "/livez", HEALTH).status == 200
    made.put(NODE)
    until("its removal", lambda: ask(here, "/healthz", HEALTH).status == 200)
    assert "KUBE-" not in here.rules()
    made.served.collections[SERVICES] = services
    running.says("ready: ")
    assert "10.96.0.1" in here.rules()
    assert running.stop() == 0
    assert events_of(made) == [("Starting", "Node", "node-a")]


def test_nothing_is_written_of_a_cluster_that_was_read_in_part(here: Place, made: Cluster) -> None:
    """Former rules stay until all is known: no Service is taken for deleted meanwhile."""
    assert here.once("--kubeconfig", made.kubeconfig, "--once").returncode == 0
    before = here.rules()
    slices = made.served.collections.pop("/apis/discovery.k8s.io/v1/endpointslices")
    running = here.start_without_waiting("--kubeconfig", made.kubeconfig)
    running.says("waiting for endpointslices")
    assert here.rules() == before
    made.served.collections["/apis/discovery.k8s.io/v1/endpointslices"] = slices
    running.says("ready: ")
    assert here.rules() == before
    assert running.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("phase", ["no API server", "no Node", "no Services"])
def test_a_start_that_waits_can_be_stopped(
    here: Place, made: Cluster, phase: str, number: signal.Signals
) -> None:
    kubeconfig, waits_for = made.kubeconfig, "Node node-a"
    match phase:
        case "no API server":
            made.go()
        case "no Node":
            made.served.delete("Node", "", "node-a")
        case "no Services":
            _without_services(made)
            waits_for = "services"
    running = here.start_without_waiting("--kubeconfig", kubeconfig)
    running.says(f"waiting for {waits_for} of ")
    assert running.stop(number) == 0
    assert "stopped; the rules stay" in running.log


def test_the_service_manager_is_told_while_a_proxy_waits(
    here: Place, made: Cluster, manager: Manager
) -> None:
    kubeconfig = made.kubeconfig
    made.go()
    running = here.start_without_waiting("--kubeconfig", kubeconfig)
    running.says("waiting for Node node-a")
    before = len(manager.heard())
    until("the watchdog is fed", lambda: manager.heard()[before:].count("WATCHDOG=1") > 3)
    assert "READY=1" not in manager.heard()
    made.come_back()
    manager.hears("READY=1")
    assert running.stop() == 0
    assert manager.heard()[-1] == "STOPPING=1"


def test_a_write_to_the_configuration_ends_a_proxy_that_waits(here: Place, made: Cluster) -> None:
    config = here.folder / "config"
    text = (
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
        f"clientConnection: {{kubeconfig: {made.kubeconfig}}}\n"
    )
    config.write_text(text)
    made.go()
    running = here.start_without_waiting("--config", str(config))
    running.says("waiting for Node node-a")
    running.process.send_signal(signal.SIGHUP)
    running.says("SIGHUP is ignored")
    config.write_text(text)
    assert running.ended() == 1
    assert f"the configuration file {config} was written" in running.log


def test_a_kubeconfig_is_corrected_while_a_proxy_waits(here: Place, made: Cluster) -> None:
    kubeconfig = Path(made.kubeconfig)
    good = kubeconfig.read_text()
    url = made.served.url
    kubeconfig.write_text(good.replace(url, "https://127.0.0.1:1"))
    running = here.start_without_waiting("--kubeconfig", str(kubeconfig))
    running.says("cannot read nodes of https://127.0.0.1:1, ")
    kubeconfig.write_text("{[")
    running.says(f"the former credentials stay in use: {kubeconfig}: is not valid YAML")
    kubeconfig.write_text(good)
    running.says(f"{url} can be read again, after ")
    running.says("ready: ")
    assert running.stop() == 0


HANGS = """#!/bin/sh
cd "$(dirname "$0")" || exit
if [ -e asked ]; then echo $$ >pid; exec sleep 3600; fi
echo asked >asked
echo '{}'
"""
EXPIRED = {
    "apiVersion": "client.authentication.k8s.io/v1",
    "kind": "ExecCredential",
    "status": {"token": "hush-hush-token", "expirationTimestamp": "2026-01-01T00:00:00Z"},
}


@pytest.mark.parametrize("asked", [False, True])
def test_a_plug_in_that_hangs_does_not_keep_a_proxy_and_ends_with_it(
    here: Place, made: Cluster, asked: bool
) -> None:
    """When it is asked for the first time, and when credentials are renewed."""
    plugin, pid = here.folder / "plug-in", here.folder / "pid"
    plugin.write_text(HANGS.replace("{}", json.dumps(EXPIRED)))
    plugin.chmod(0o755)
    if not asked:
        (here.folder / "asked").touch()
    kubeconfig = Path(made.kubeconfig)
    content = json.loads(kubeconfig.read_text())
    how = {"apiVersion": EXPIRED["apiVersion"], "command": str(plugin), "interactiveMode": "Never"}
    content["users"][0]["user"] = {"exec": how}
    kubeconfig.write_text(json.dumps(content))
    running = here.start_without_waiting("--kubeconfig", str(kubeconfig))
    until("it hangs", lambda: pid.exists() and pid.read_text().endswith("\n"))
    process = Path("/proc", pid.read_text().strip())
    assert process.exists()
    assert running.stop() == 0
    until("its end", lambda: not process.exists())


@pytest.fixture
def taken(here: Place) -> Iterator[socket.socket]:
    """Let another process have the port of the metrics server."""
    with here.namespace.entered(), socket.socket() as sock:
        sock.bind(("127.0.0.1", METRICS))
        sock.listen()
        yield sock


def test_an_address_that_is_taken(here: Place, made: Cluster, taken: socket.socket) -> None:
    kubeconfig = made.kubeconfig
    made.go()
    running = here.start_without_waiting("--kubeconfig", kubeconfig)
    running.says("the metrics server cannot listen on 127.0.0.1:10249: Address already in use")
    until("health", lambda: ask(here, "/livez", HEALTH).status == 200)
    taken.close()
    running.says("the metrics server listens on 127.0.0.1:10249 now")
    assert ask(here, "/proxyMode") == Answer(200, "iptables")
    assert running.stop() == 0


@pytest.mark.usefixtures("taken")
def test_an_address_that_must_not_be_taken(here: Place, made: Cluster) -> None:
    kubeconfig = made.kubeconfig
    failed = here.once("--kubeconfig", kubeconfig, "--bind-address-hard-fail")
    assert failed.returncode == 1
    assert "cannot listen on 127.0.0.1:10249" in failed.stderr
    assert events_of(made) == [("FailedToStartMetricServer", "Node", "node-a")]
    made.go()
    failed = here.once("--kubeconfig", kubeconfig, "--bind-address-hard-fail")
    assert failed.returncode == 1
    assert "cannot listen on 127.0.0.1:10249" in failed.stderr


def test_a_second_proxy_is_told_at_once(here: Place, made: Cluster) -> None:
    kubeconfig = made.kubeconfig
    made.go()
    running = here.start_without_waiting("--kubeconfig", kubeconfig)
    running.says("waiting for Node node-a")
    second = here.once("--kubeconfig", kubeconfig)
    assert second.returncode == 1
    assert str(running.process.pid) in second.stderr
    assert running.stop() == 0
