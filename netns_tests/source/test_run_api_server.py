"""`kproxy run` fed by an API server, over TLS: as by manifests, and through what goes wrong."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from netns_tests.modes import FLAT, IPTABLES, Mode
from netns_tests.run.running import Place, Running, until
from netns_tests.serve.asking import HEALTH, ask, scrape, with_loopback
from netns_tests.source.served import Cluster, cluster, events_of
from netns_tests.takeover.node import RecordedNode, Traffic, recorded_node
from netns_tests.takeover.test_takeover import CASE

Text = Callable[..., str]
NFTABLES = Mode("nftables")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Cluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    with cluster(folder) as each:
        yield each


@pytest.mark.parametrize("watch_lists", [True, False])
def test_the_rules_are_those_of_manifests_and_follow_each_change(
    place: Place, service: Text, tmp_path: Path, watch_lists: bool
) -> None:
    (tmp_path / "cluster").mkdir()
    with cluster(tmp_path / "cluster", watch_lists=watch_lists) as made:
        made.put_text(service("web", "10.96.0.1"))
        made.put_text(service("six", "fd00:10:96::1"))
        running = place.start("--kubeconfig", made.kubeconfig)
        of_api_server = place.rules()
        assert "10.96.0.1" in of_api_server
        assert "fd00:10:96::1" in of_api_server
        made.put_text(service("web", "10.96.0.2"))
        until("the new address", lambda: "10.96.0.2" in place.rules())
        made.served.delete("Service", "default", "web")
        until("the deletion", lambda: "10.96.0.2" not in place.rules())
        made.put_text(service("web", "10.96.0.1"))
        until("the first rules", lambda: place.rules() == of_api_server)
        assert running.stop() == 0
        lists = [each for each in made.served.requests if "limit=500" in each]
        assert bool(lists) != watch_lists
    place.write("web.yaml", service("web", "10.96.0.1"))
    place.write("six.yaml", service("six", "fd00:10:96::1"))
    assert place.once("--manifests", str(place.folder), "--once").returncode == 0
    assert place.rules() == of_api_server


@pytest.mark.parametrize("mode", [IPTABLES[0], IPTABLES[1], NFTABLES, FLAT], ids=str)
def test_while_the_api_server_is_away_connections_live_and_damage_is_repaired(
    tmp_path: Path, made: Cluster, mode: Mode
) -> None:
    with recorded_node() as node:
        place = Place(node.namespaces["node"], node.names["node"], tmp_path)
        made.put(*_recorded(made))
        arguments = [f"--proxy-mode={mode.name}", "--cluster-cidr=10.244.0.0/16"]
        arguments += [f"--iptables-variant={mode.variant}", f"--nftables-layout={mode.layout}"]
        try:
            running = place.start("--kubeconfig", made.kubeconfig, *arguments)
            with Traffic(node, localhost=False) as traffic:
                until("connections", lambda: traffic.made["before"] > 20)
                made.go()
                running.says("cannot read ")
                traffic.step = "away"
                _delete_a_chain(node, mode)
                running.says("writing all rules again")
                # The chain was one of others: the connections of this test never pass it.
                until("connections", lambda: traffic.made["away"] > 20)
                made.come_back()
                made.put(_service("later", "10.96.0.77"), _slice("later", "10.244.1.5"))
                running.says("can be read again, after ")
                traffic.step = "back"
                until("the new Service", lambda: "10.96.0.77" in _rules(node, mode))
                until("connections", lambda: traffic.made["back"] > 20)
            assert not traffic.failures
            assert running.stop() == 0
        finally:
            place.end()


def _recorded(_made: Cluster) -> list[dict[str, object]]:
    """Return the Services and slices of the recorded case, and one more for the damage."""
    documents = yaml.safe_load_all((CASE / "objects.yaml").read_text())
    found = [each for each in documents if each["kind"] in ("Service", "EndpointSlice")]
    return [*found, _service("spare", "10.96.0.99"), _slice("spare", "10.244.1.5")]


def _service(name: str, cluster_ip: str) -> dict[str, object]:
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "spec": {
            "clusterIP": cluster_ip,
            "clusterIPs": [cluster_ip],
            "ipFamilies": ["IPv4"],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        },
    }


def _slice(name: str, address: str) -> dict[str, object]:
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def _rules(node: RecordedNode, mode: Mode) -> str:
    return node.namespaces["node"].run(mode.dump)


def _delete_a_chain(node: RecordedNode, mode: Mode) -> None:
    """Remove what leads to the Service `spare`, as another program might."""
    if mode.name == "nftables":
        elements = "10.96.0.99 . tcp . 80"
        node.tool(
            "nft", "delete", "element", "ip", "kube-proxy", "service-ips", f"{{ {elements} }}"
        )
        return
    program = f"iptables-{mode.variant}"
    saved = node.tool(f"{program}-save", "-t", "nat")
    rule = next(
        line
        for line in saved.splitlines()
        if line.startswith("-A KUBE-SERVICES") and "10.96.0.99" in line
    )
    words = [word.strip('"') for word in _split(rule.removeprefix("-A "))]
    node.tool(program, "-t", "nat", "-D", *words)


def _split(rule: str) -> list[str]:
    import shlex

    return shlex.split(rule)


def test_events_tell_of_the_start_and_of_what_cannot_be_accepted(
    place: Place, service: Text, made: Cluster
) -> None:
    made.put_text(service("web", "10.96.0.1"))
    running = place.start("--kubeconfig", made.kubeconfig)
    broken = yaml.safe_load(service("web", "10.96.0.2").partition("---")[0])
    broken["spec"]["sessionAffinity"] = "Sometimes"
    made.put(broken)
    running.says("rejection 1): Service web: spec.sessionAffinity: ")
    until("the Event", lambda: ("InvalidObject", "Service", "web") in events_of(made))
    assert ("Starting", "Node", "node-a") in events_of(made)
    assert "10.96.0.1" in place.rules()
    assert running.stop() == 0


def test_health_and_metrics_tell_of_the_node_and_of_the_api_server(
    place: Place, service: Text, made: Cluster
) -> None:
    here = with_loopback(place)
    made.put_text(service("web", "10.96.0.1"))
    running = here.start("--kubeconfig", made.kubeconfig)
    until("an eligible node", lambda: ask(here, "/healthz", HEALTH).status == 200)
    taint = {"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}
    node = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "node-a"}}
    made.put(node | {"spec": {"taints": [taint]}})
    until("the taint", lambda: ask(here, "/healthz", HEALTH).status == 503)
    assert ask(here, "/livez", HEALTH).status == 200
    made.put(node)
    until("its removal", lambda: ask(here, "/healthz", HEALTH).status == 200)
    samples = scrape(here)
    host = made.served.url.removeprefix("https://")
    assert samples[f'rest_client_requests_total{{code="200",host="{host}",method="GET"}}'] >= 3
    assert samples["kproxy_api_server_away_seconds"] == 0
    made.go()
    running.says("cannot read ")
    until("the time", lambda: scrape(here)["kproxy_api_server_away_seconds"] > 0)
    made.come_back()
    running.says("can be read again")
    assert scrape(here)["kproxy_api_server_away_seconds"] == 0
    assert running.stop() == 0


_AWAY, _BACK = "cannot read ", "can be read again"


def test_an_api_server_that_comes_and_goes_costs_no_descriptor(
    place: Place, service: Text, made: Cluster
) -> None:
    made.put_text(service("web", "10.96.0.1"))
    running = place.start("--kubeconfig", made.kubeconfig)
    counts = []
    for number in range(2, 6):
        until("all watches", lambda: made.served.watching == 3)
        failures, returns = (running.log.count(each) for each in (_AWAY, _BACK))
        made.go()
        until("a failure", partial(_says_more, running, _AWAY, failures))
        made.come_back()
        made.put_text(service("web", f"10.96.0.{number}"))
        until("the new address", partial(_has, place, f"10.96.0.{number}"))
        # What fails before that is the same outage, of which nothing is said again.
        until("all can be read", partial(_says_more, running, _BACK, returns))
        until("all watches", lambda: made.served.watching == 3)
        counts.append(_descriptors(running.process.pid))
    # Another connection may be on its way just then, and the one by which Events are sent is kept
    # once it is there. One of a watch that stayed would be one in each round.
    until("no more in each round", lambda: _descriptors(running.process.pid) <= counts[0] + 1)
    assert running.stop() == 0


def _descriptors(process: int) -> int:
    return len([*Path(f"/proc/{process}/fd").iterdir()])


def _says_more(running: Running, words: str, times: int) -> bool:
    return running.log.count(words) > times


def _has(place: Place, address: str) -> bool:
    return address in place.rules()


def test_once(place: Place, service: Text, made: Cluster) -> None:
    made.put_text(service("web", "10.96.0.1"))
    done = place.once("--kubeconfig", made.kubeconfig, "--once")
    assert done.returncode == 0, done.stderr
    assert "10.96.0.1" in place.rules()


def test_once_names_what_it_leaves_out(place: Place, service: Text, made: Cluster) -> None:
    made.put_text(service("web", "10.96.0.1"))
    broken = yaml.safe_load(service("odd", "10.96.0.2").partition("---")[0])
    broken["spec"]["sessionAffinity"] = "Sometimes"
    made.put(broken)
    done = place.once("--kubeconfig", made.kubeconfig, "--once")
    assert done.returncode == 0
    assert "left out, as it cannot be accepted: Service odd: spec.sessionAffinity: " in done.stderr
    assert "10.96.0.1" in place.rules()
    assert "10.96.0.2" not in place.rules()


def test_a_node_that_the_cluster_does_not_have(place: Place, made: Cluster) -> None:
    made.served.delete("Node", "", "node-a")
    done = place.once("--kubeconfig", made.kubeconfig, "--once")
    assert done.returncode == 2
    assert f"{made.served.url} has no Node node-a" in done.stderr
    waiting = place.start_without_waiting("--kubeconfig", made.kubeconfig)
    waiting.says("waiting for Node node-a")
    made.put({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "node-a"}})
    waiting.says("ready: ")
    assert waiting.stop() == 0


def test_a_start_waits_for_an_api_server_that_is_away_and_can_be_stopped(
    place: Place, service: Text, made: Cluster
) -> None:
    made.put_text(service("web", "10.96.0.1"))
    kubeconfig = made.kubeconfig
    made.go()
    for number in (signal.SIGTERM, signal.SIGINT):
        waiting = place.start_without_waiting("--kubeconfig", kubeconfig)
        waiting.says("waiting for Node node-a")
        assert waiting.stop(number) == 0
    waiting = place.start_without_waiting("--kubeconfig", kubeconfig)
    waiting.says("connection refused")
    made.come_back()
    waiting.says("ready: ")
    assert "10.96.0.1" in place.rules()
    assert waiting.stop() == 0


REFUSED = {
    "no kubeconfig": (["--kubeconfig=/no/such/file"], "/no/such/file: no such file"),
    "two sources": (
        ["--kubeconfig=/etc/kubeconfig", "--manifests=."],
        "--manifests: kubeconfig /etc/kubeconfig names another source of Services",
    ),
    "two sources, one by URL": (
        ["--master=https://192.0.2.1", "--manifests=."],
        "--manifests: --master names another source of Services",
    ),
    "no source": ([], "this is no Pod"),
    "another kernel": (["--kernel=uml", "--once"], "--kernel uml: needs --manifests"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_at_the_start(place: Place, name: str) -> None:
    arguments, told = REFUSED[name]
    done = place.once(*arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "try: " in done.stderr or "problem" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("flags", [("--once",), ()], ids=str)
def test_a_token_that_is_not_accepted_ends_a_start(
    place: Place, made: Cluster, flags: tuple[str, ...]
) -> None:
    kubeconfig = Path(made.kubeconfig)
    kubeconfig.write_text(kubeconfig.read_text().replace("hush-hush-token", "hush-hush-other"))
    done = place.once("--kubeconfig", str(kubeconfig), *flags)
    assert done.returncode == 2
    assert "401 Unauthorized" in done.stderr
    assert "try: " in done.stderr
    assert "hush-hush" not in done.stderr
