"""The files of deploy/ fit together, and fit kproxy: its command line, requests and ports."""

from __future__ import annotations

import shlex
from collections import defaultdict
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from kproxy.address import split_host_port
from kproxy.backend import ModeConfigs
from kproxy.cli.run import run
from kproxy.config import ProxyConfig, Seconds
from kproxy.config.file import read_file
from kproxy.kubernetes import events, resources

DEPLOY = Path(__file__).parents[1] / "deploy"

# What kproxy does with each collection of resources.py. Events are posted (recorder.py).
READ = {"list", "watch"}


def _documents(name: str) -> list[Any]:
    return [*yaml.safe_load_all((DEPLOY / name).read_text())]


def _requests() -> dict[tuple[str, str], set[str]]:
    read = (
        resources.SERVICES,
        resources.ENDPOINT_SLICES,
        resources.SERVICE_CIDRS,
        resources.own_node("node-a"),
    )
    made = {(_group(each.path), each.plural): READ for each in read}
    event = events.starting("node-a")
    return {**made, (_group(events.path(event)), "events"): {"create"}}


def _group(path: str) -> str:
    """Return the API group of a path such as `/apis/GROUP/v1/services`, "" of `/api/v1/...`."""
    parts = path.split("/")
    return parts[2] if parts[1] == "apis" else ""


def test_the_role_allows_exactly_the_requests_that_are_made() -> None:
    role, binding = _documents("rbac.yaml")
    allowed: dict[tuple[str, str], set[str]] = defaultdict(set)
    for rule in role["rules"]:
        assert {*rule} == {"apiGroups", "resources", "verbs"}
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                allowed[group, resource] |= {*rule["verbs"]}
    assert allowed == _requests()
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (subject,) = binding["subjects"]
    (account,) = _documents("serviceaccount.yaml")
    assert (subject["name"], subject["namespace"]) == (
        account["metadata"]["name"],
        account["metadata"]["namespace"],
    )


def _pod() -> Any:
    (daemonset,) = _documents("daemonset.yaml")
    spec = daemonset["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    return spec["template"]["spec"]


def _containers() -> dict[str, Any]:
    pod = _pod()
    return {each["name"]: each for each in (*pod["initContainers"], *pod["containers"])}


def _parsed(command: list[str]) -> dict[str, Any]:
    """Return the parameters of `kproxy run ...`. Fails if it does not take them."""
    assert command[:2] == ["kproxy", "run"]
    parameters: dict[str, Any] = run.make_context("run", command[2:]).params
    return parameters


def test_the_command_lines() -> None:
    containers = _containers()
    settings, kproxy = (_parsed(containers[name]["command"]) for name in ("settings", "kproxy"))
    assert settings["init_only"]
    assert not kproxy["init_only"]
    for parsed in (settings, kproxy):
        assert parsed["config"] == "/etc/kproxy/config.yaml"
        assert parsed["hostname_override"] == "$(NODE_NAME)"
    for container in containers.values():
        assert [each["name"] for each in container["env"]] == ["NODE_NAME"]


def test_what_is_mounted_is_there() -> None:
    volumes = {each["name"]: each for each in _pod()["volumes"]}
    for container in _containers().values():
        assert {each["name"] for each in container["volumeMounts"]} == {*volumes}
        paths = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
        assert paths["config"] == "/etc/kproxy"
        for name in ("xtables-lock", "modules"):
            assert paths[name] == volumes[name]["hostPath"]["path"]
    (config,) = _documents("configmap.yaml")
    assert volumes["config"]["configMap"]["name"] == config["metadata"]["name"]


def _config(tmp_path: Path) -> tuple[ProxyConfig, Any]:
    (found,) = _documents("configmap.yaml")
    path = tmp_path / "config.yaml"
    path.write_text(found["data"]["config.yaml"])
    read = read_file(str(path), ModeConfigs())
    assert (read.problems, read.notices, read.at_start) == ((), (), ())
    return read.config, yaml.safe_load(found["data"]["kubeconfig.yaml"])


def test_the_configuration_is_accepted_without_a_warning(tmp_path: Path) -> None:
    config, kubeconfig = _config(tmp_path)
    assert config.client_connection.kubeconfig == "/etc/kproxy/kubeconfig.yaml"
    assert kubeconfig["current-context"] == kubeconfig["contexts"][0]["name"]


def _port(address: str) -> int:
    parts = split_host_port(address)
    assert parts
    return int(parts[1])


def test_probes_and_ports_are_those_of_the_configuration(tmp_path: Path) -> None:
    config, _ = _config(tmp_path)
    container = _containers()["kproxy"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {each["name"]: each["hostPort"] for each in container["ports"]}
    assert ports == {
        "healthz": _port(config.healthz_bind_address),
        "metrics": _port(config.metrics_bind_address),
    }
    probes = {name: probe["httpGet"] for name, probe in container.items() if "Probe" in name}
    assert probes == {
        "startupProbe": {"path": "/livez", "port": "healthz"},
        "livenessProbe": {"path": "/livez", "port": "healthz"},
        "readinessProbe": {"path": "/healthz", "port": "healthz"},
    }


def test_only_the_container_that_ends_at_once_is_privileged() -> None:
    containers = _containers()
    assert containers["settings"]["securityContext"]["privileged"]
    context = containers["kproxy"]["securityContext"]
    assert "privileged" not in context
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]}


def test_the_kustomizations_name_every_file() -> None:
    (here,) = _documents("kustomization.yaml")
    files = {path.name for path in DEPLOY.glob("*.yaml")} - {"kustomization.yaml"}
    assert {*here["resources"]} == files
    (component,) = _documents("kubeadm/kustomization.yaml")
    files = {path.name for path in DEPLOY.glob("kubeadm/*.yaml")} - {"kustomization.yaml"}
    assert {each["path"] for each in component["patches"]} == files


KUBEADM = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
kind: KubeProxyConfiguration
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: ""
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
"""


def test_the_configuration_that_kubeadm_writes_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "config.conf"
    path.write_text(KUBEADM)
    read = read_file(str(path), ModeConfigs())
    assert read.problems == ()
    assert [each.field for each in read.at_start] == ["mode"]
    config = read.config
    assert config.healthz_bind_address == "0.0.0.0:10256"
    assert config.iptables.sync_period == Seconds(30)
    (patch,) = _documents("kubeadm/daemonset-patch.yaml")
    spec = patch["spec"]["template"]["spec"]
    for container in (*spec["initContainers"], *spec["containers"]):
        assert _parsed(container["command"])["config"] == "/var/lib/kube-proxy/config.conf"
        assert container["name"] in _containers()


@pytest.fixture
def unit() -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read(DEPLOY / "kproxy.service")
    return parser


def test_the_unit_is_started_again_without_a_limit(unit: ConfigParser) -> None:
    """By default a unit is given up after five starts in ten seconds."""
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert unit["Service"]["Restart"] == "always"


def test_the_unit_of_systemd(unit: ConfigParser) -> None:
    service = unit["Service"]
    assert service["Type"] == "notify"
    program, *arguments = shlex.split(service["ExecStart"])
    assert Path(program).name == "kproxy"
    assert _parsed(["kproxy", *arguments])["config"] == "/etc/kproxy/config.yaml"
    capabilities = service["CapabilityBoundingSet"].split()
    added = _containers()["kproxy"]["securityContext"]["capabilities"]["add"]
    assert capabilities == [f"CAP_{name}" for name in added]
