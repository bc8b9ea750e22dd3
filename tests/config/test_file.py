"""Reading files to configurations: defaults, leniency, and every problem at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from kproxy.backend import ModeConfigs
from kproxy.config import ProxyConfig, load_config
from kproxy.config.file import read_text, write_text
from kproxy.config.validation import DETECT_LOCAL_MODES
from kproxy.errors import BadInput
from kproxy.versions import Version

HEAD = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"


def problems(body: str) -> list[str]:
    return [problem.at("") for problem in read_text(HEAD + body, ModeConfigs()).problems]


def notices(body: str) -> list[str]:
    return [notice.at("") for notice in read_text(HEAD + body, ModeConfigs()).notices]


def test_an_empty_file_is_the_default() -> None:
    config, problems, notices, at_start = read_text(HEAD, ModeConfigs())
    assert (config, problems, notices) == (ProxyConfig(), (), ())
    assert [each.field for each in at_start] == ["mode"]


def test_json_is_read_as_well() -> None:
    text = (
        '{"apiVersion": "kubeproxy.config.k8s.io/v1alpha1",\n'
        '\t"kind": "KubeProxyConfiguration", "ipvs": {"excludeCIDRs": ["10.0.0.0/8"]}}'
    )
    read = read_text(text, ModeConfigs())
    assert read.problems == ()
    assert read.config.ipvs.exclude_cidrs == ("10.0.0.0/8",)


DEFAULTS = [  # body, path, value
    ("", "mode", "iptables"),
    ('mode: ""', "mode", "iptables"),
    ("mode: null", "mode", "iptables"),
    ("", "detect_local_mode", "ClusterCIDR"),
    ('detectLocalMode: ""', "detect_local_mode", "ClusterCIDR"),
    ("", "node_port_addresses", ()),
    ("mode: nftables", "node_port_addresses", ("primary",)),
    ("mode: nftables\nnodePortAddresses: [10.0.0.0/8]", "node_port_addresses", ("10.0.0.0/8",)),
    ("", "bind_address", "0.0.0.0"),
    ('bindAddress: ""', "bind_address", "0.0.0.0"),
    ("", "healthz_bind_address", "0.0.0.0:10256"),
    ('healthzBindAddress: ""', "healthz_bind_address", "0.0.0.0:10256"),
    ('bindAddress: "::"', "healthz_bind_address", "[::]:10256"),
    ("healthzBindAddress: 10.0.0.1", "healthz_bind_address", "10.0.0.1:10256"),
    ('healthzBindAddress: "fd00::1"', "healthz_bind_address", "[fd00::1]:10256"),
    ("healthzBindAddress: 10.0.0.1:99", "healthz_bind_address", "10.0.0.1:99"),
    ("", "metrics_bind_address", "127.0.0.1:10249"),
    ("bindAddress: fd00::1", "metrics_bind_address", "[::1]:10249"),
    ("iptables: {}", "iptables.masquerade_bit", 14),
    ("iptables: {masqueradeBit: 0}", "iptables.masquerade_bit", 0),
    ("iptables: {localhostNodePorts: false}", "iptables.localhost_node_ports", False),
    ("iptables: {minSyncPeriod: 0s}", "iptables.min_sync_period", 1),
    ("iptables: {syncPeriod: 0s}", "iptables.sync_period", 30),
    ("nftables: {minSyncPeriod: 0s}", "nftables.min_sync_period", 1),
    ("ipvs: {syncPeriod: 0s}", "ipvs.sync_period", 30),
    ("", "ipvs.min_sync_period", 0),
    ("", "conntrack.max_per_core", 32768),
    ("conntrack: {maxPerCore: 0}", "conntrack.max_per_core", 0),
    ("conntrack: {maxPerCore: null}", "conntrack.max_per_core", 32768),
    ("conntrack: {tcpEstablishedTimeout: 0s}", "conntrack.tcp_established_timeout", 0),
    ("", "conntrack.tcp_established_timeout", 86400),
    ("configSyncPeriod: 0s", "config_sync_period", 900),
    ("clientConnection: {burst: 0}", "client_connection.burst", 10),
    ("clientConnection: {qps: 3}", "client_connection.qps", 3.0),
    ("oomScoreAdj: 0", "oom_score_adj", 0),
    ("iptables: {syncPeriod: 1m30s}", "iptables.sync_period", 90),
    ("mode: ipvs\nipvs: {syncPeriod: 7s}", "ipvs.sync_period", 7),
    ("mode: nftables\niptables: {masqueradeAll: true}", "nftables.masquerade_all", False),
    ("mode: nftables\nnftables: {masqueradeBit: 9}", "nftables.masquerade_bit", 9),
    ("conntrack: {min: 1.048576e+06}", "conntrack.min", 1_048_576),
    ("conntrack: {min: 1e+06}", "conntrack.min", 1_000_000),
    ("conntrack: {maxPerCore: 0.0, min: 131072.0}", "conntrack.max_per_core", 0),
    ("oomScoreAdj: -9.98e+02", "oom_score_adj", -998),
    ("iptables: {masqueradeBit: 0o17}", "iptables.masquerade_bit", 15),
    ("clientConnection: {qps: 1e+02, burst: 2e2}", "client_connection.burst", 200),
    ("iptables: {masqueradeAll: y}", "iptables.masquerade_all", True),
    ("iptables: {localhostNodePorts: off}", "iptables.localhost_node_ports", False),
    ("featureGates: {AllBeta: on}", "feature_gates", {"AllBeta": True}),
    ("logging: {flushFrequency: 5e+09}", "logging.flush_frequency", 5_000_000_000),
]
SECTIONS = [  # mode -> where its periods, and what concerns masquerading, are read
    ("iptables", "iptables", "iptables"),
    ("ipvs", "ipvs", "iptables"),
    ("nftables", "nftables", "nftables"),
]


@pytest.mark.parametrize(("mode", "timing", "masquerade"), SECTIONS)
def test_which_section_counts(mode: str, timing: str, masquerade: str) -> None:
    config = ProxyConfig()
    reads = ModeConfigs()[mode]
    assert reads.timing_of(config) is getattr(config, timing)
    assert reads.masquerade_of(config) is getattr(config, masquerade)


@pytest.mark.parametrize(("body", "path", "value"), DEFAULTS)
def test_defaults(body: str, path: str, value: object) -> None:
    read = read_text(HEAD + body, ModeConfigs())
    assert read.problems == ()
    found: object = read.config
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


PROBLEMS = [  # body -> the one problem
    ("mode: ebpf", "mode: 'ebpf' is not one of iptables, ipvs, nftables, userspace"),
    ("mode: 3", "mode: expected str, got int"),
    ("detectLocalMode: Magic",
     f"detectLocalMode: 'Magic' is not one of {', '.join(DETECT_LOCAL_MODES)}"),
    ("detectLocalMode: BridgeInterface",
     "detectLocal.bridgeInterface: is required by detectLocalMode BridgeInterface"),
    ("detectLocalMode: InterfaceNamePrefix",
     "detectLocal.interfaceNamePrefix: is required by detectLocalMode InterfaceNamePrefix"),
    ('detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: "a -j DROP"}',
     "detectLocal.bridgeInterface: 'a -j DROP' cannot be (the start of) the name of an interface"),
    ("clusterCIDR: 10.244.0.0", "clusterCIDR: '10.244.0.0' is not a CIDR such as 10.244.0.0/16"),
    ("clusterCIDR: 10.0.0.0/8,11.0.0.0/8", "clusterCIDR: two CIDRs of the same family"),
    ("clusterCIDR: 10.0.0.0/8,fd00::/8,11.0.0.0/8",
     "clusterCIDR: 3 CIDRs; at most one of each family is allowed"),
    ("iptables: {masqueradeBit: 32}", "iptables.masqueradeBit: 32 is not in 0..31"),
    ("mode: nftables\nnftables: {masqueradeBit: -1}",
     "nftables.masqueradeBit: -1 is not in 0..31"),
    ("iptables: {masqueradeBit: x}", "iptables.masqueradeBit: expected int, got str"),
    ("conntrack: {min: 80.5}", "conntrack.min: expected int, got float"),
    ("conntrack: {min: 1e10}", "conntrack.min: expected int <= 2147483647"),
    ("conntrack: {min: '80.0'}", "conntrack.min: expected int, got str"),
    ("iptables: 3", "iptables: expected a mapping, got 3"),
    ("iptables: {syncPeriod: 30}",
     "iptables.syncPeriod: expected a duration such as 30s, got 30"),
    ("iptables: {syncPeriod: 30 s}",
     "iptables.syncPeriod: '30 s' is not a duration such as 30s or 1h0m0s"),
    ("iptables: {minSyncPeriod: 1m}",
     "iptables.syncPeriod: 30s is less than minSyncPeriod 1m0s"),
    ("iptables: {minSyncPeriod: -1s}", "iptables.minSyncPeriod: -1s is negative"),
    ("mode: ipvs\nipvs: {tcpTimeout: -1s}", "ipvs.tcpTimeout: is negative"),
    ("mode: ipvs\nipvs: {excludeCIDRs: [10.0.0.1]}",
     "ipvs.excludeCIDRs: '10.0.0.1' is not a CIDR"),
    ("ipvs: {excludeCIDRs: [1]}", "ipvs.excludeCIDRs: expected str, got int (at [0])"),
    ("configSyncPeriod: -1s", "configSyncPeriod: -1s is not above 0"),
    ("bindAddress: node-a", "bindAddress: 'node-a' is not an IP address"),
    ("healthzBindAddress: nowhere", "healthzBindAddress: 'nowhere' is not of the form IP:port"),
    ('healthzBindAddress: "[::1]"', "healthzBindAddress: '[::1]' is not of the form IP:port"),
    ('metricsBindAddress: "[fd00::1]"',
     "metricsBindAddress: '[fd00::1]' is not of the form IP:port"),
    ("healthzBindAddress: 10.0.0.1:0", "healthzBindAddress: port '0' is not in 1..65535"),
    ("metricsBindAddress: a:80", "metricsBindAddress: 'a' is not an IP address"),
    ('emulate: "1.36"\nnodePortAddresses: [primary, 10.0.0.0/8]',
     "nodePortAddresses: 'primary' must be the only entry (kube-proxy 1.37 takes it)"),
    ("emulate: 1.36\nnodePortAddresses: [10.0.0.0/8, all]",
     "nodePortAddresses: 'all' is neither a CIDR nor 'primary' (kube-proxy 1.37 takes it)"),
    ("emulate: 1.36\nnodePortAddresses: [localhost]",
     "nodePortAddresses: 'localhost' is neither a CIDR nor 'primary' (kube-proxy 1.37 takes it)"),
    ("emulate: 1.36\nnodePortAddresses: [10.0.0.1]",
     "nodePortAddresses: '10.0.0.1' is neither a CIDR nor 'primary'"),
    ("emulate: 1.35",
     "emulate: kube-proxy 1.35 is not emulated; there are 1.36, 1.37, 1.38-alpha"),
    ("featureGates: {KubeProxyIPVS: false}\nmode: ipvs",
     ("mode: ipvs needs feature gate KubeProxyIPVS, which is off; others are iptables, nftables, "
     "userspace")),
    ("emulate: 1.36\nfeatureGates: {KubeProxyIPVS: false}\nmode: ipvs",
     "featureGates.KubeProxyIPVS: unknown in kube-proxy 1.36; it came with 1.37"),
    ("emulate: 1.36\nfeatureGates: {NFTablesNetlink: true}",
     "featureGates.NFTablesNetlink: unknown in kube-proxy 1.36; it came with 1.37"),
    ("emulate: 1.36\nfeatureGates: {KubeProxyNFTablesLocalhostNodePorts: true}",
     ("featureGates.KubeProxyNFTablesLocalhostNodePorts: unknown in kube-proxy 1.36; it came with "
     "1.37")),
    ("emulate: 1.38-alpha\nfeatureGates: {NFTablesProxyMode: true}",
     "featureGates.NFTablesProxyMode: unknown in kube-proxy 1.38-alpha; it was removed"),
    ("emulate: 1.38-alpha\nfeatureGates: {PreferSameTrafficDistribution: true}",
     ("featureGates.PreferSameTrafficDistribution: unknown in kube-proxy 1.38-alpha; it was "
      "removed")),
    ("nodePortAddresses: [10.0.0.1]",
     "nodePortAddresses: '10.0.0.1' is neither a CIDR nor one of primary, localhost, all"),
    ("oomScoreAdj: 1001", "oomScoreAdj: 1001 is not in -1000..1000"),
    ("conntrack: {min: -1}", "conntrack.min: is negative"),
    ("clientConnection: {burst: -1}", "clientConnection.burst: -1 is negative"),
    ("logging: {format: xml}", "logging.format: 'xml' is not one of text, json"),
    ("logging: {verbosity: -1}", "logging.verbosity: expected int >= 0"),
    ("logging: {verbosity: 2147483648}", "logging.verbosity: expected int <= 2147483647"),
    ("logging: {flushFrequency: soon}",
     "logging.flushFrequency: 'soon' is not a duration such as 30s or 1h0m0s"),
    ("logging: {vmodule: [{filePattern: a, verbosity: -1}]}",
     "logging.vmodule: expected int >= 0 (at [0].verbosity)"),
    ("logging: {vmodule: [{verbosity: 1}]}", "logging.vmodule: filePattern is empty"),
    ("logging: {vmodule: [{filePattern: 'a,b'}]}",
     "logging.vmodule: 'a,b' has an equal sign or a comma"),
    ("logging: {format: json, vmodule: [{filePattern: a}]}",
     "logging.vmodule: is only for the text format"),
    ("featureGates: {NFTablesProxyMode: false}",
     "featureGates.NFTablesProxyMode: is locked to true"),
    ("featureGates: {AllowServiceExternalIP: true}",
     "featureGates.AllowServiceExternalIP: unknown; did you mean AllowServiceExternalIPs?"),
    ("featureGates: {AllowServiceExternalIPs: x}",
     "featureGates: expected bool, got str (at [...])"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "problem"), PROBLEMS)
def test_problems(body: str, problem: str) -> None:
    assert problems(body) == [problem]


def test_all_problems_are_found_at_once() -> None:
    body = "mode: ebpf\niptables: {masqueradeBit: x, syncPeriod: 5}\nconntrack: {min: -1}"
    assert len(problems(body)) == 4


ACCEPTED = [
    "clusterCIDR: 10.244.0.0/16,fd00:10:244::/56",
    "clusterCIDR: 10.244.001.0/16",  # leading zeros are decimal
    "detectLocalMode: NodeCIDR\nclusterCIDR: nonsense",  # not read in this mode
    "nftables: {masqueradeBit: 99}",  # not read in iptables mode
    "ipvs: {tcpTimeout: -1s}",
    "nodePortAddresses: [primary]",
    "nodePortAddresses: [primary, localhost, 10.0.0.0/8, all, primary]",
    "emulate: 1.36\nnodePortAddresses: [primary]",
    "emulate: 1.38-alpha\nmode: ipvs\nfeatureGates: {KubeProxyIPVS: true}",
    'nodePortAddresses: [10.0.0.0/8, "::/0"]',
    "portRange: anything",
    "winkernel: {enableDSR: true}",
    "logging: {flushFrequency: 5000000000, verbosity: 2}",
    "logging: {flushFrequency: 1m, vmodule: [{filePattern: proxier, verbosity: 4}]}",
    "logging: {options: {json: {infoBufferSize: 64Ki, splitStream: true}}}",
]


@pytest.mark.parametrize("body", ACCEPTED)
def test_accepted(body: str) -> None:
    assert problems(body) == []
    assert notices(body) == []


NOTICES = [
    ("iptables: {masqueradeBits: 3}", "iptables.masqueradeBits: unknown field, ignored"),
    ("Mode: ipvs", "Mode: unknown field, ignored"),
    ("mode: ipvs\nmode: iptables", "mode: given twice, first on line 3; the last one counts"),
    ("featureGates: {RotateKubeletServerCertificate: true}",
     "featureGates.RotateKubeletServerCertificate: has no effect on a service proxy"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "notice"), NOTICES)
def test_what_kube_proxy_only_logs_is_a_notice(body: str, notice: str) -> None:
    assert problems(body) == []
    assert notices(body) == [notice]


SEVERAL = [  # text -> the notices; the first document counts
    (f"---\n{HEAD}mode: nftables\n", []),
    (f"{HEAD}mode: nftables\n---\n", []),
    (f"{HEAD}mode: nftables\n...\n---\n# nothing\n---\n", []),
    (f"{HEAD}mode: nftables\n---\n{HEAD}mode: ipvs\n",
     ["f:5: document 2 (KubeProxyConfiguration) is skipped: only the first one is read"]),
    (f"{HEAD}mode: nftables\n---\nkind: KubeletConfiguration\n---\n---\n- 1\n---\na: b: c\n",
     ["f:5: document 2 (KubeletConfiguration) is skipped: only the first one is read",
      "f:8: document 4 is skipped: only the first one is read",
      "f:10: document 5 is skipped: only the first one is read"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "notices"), SEVERAL)
def test_the_first_of_several_documents_counts(text: str, notices: list[str]) -> None:
    read = read_text(text, ModeConfigs())
    assert (read.problems, read.config.mode) == ((), "nftables")
    assert [each.at("f") for each in read.notices] == notices


def test_the_last_of_repeated_fields_counts() -> None:
    assert read_text(
        HEAD + "clusterCIDR: x\nclusterCIDR: 10.0.0.0/8", ModeConfigs()
    ).config.cluster_cidr == ("10.0.0.0/8")


NOT_A_CONFIGURATION = [
    ("", "expected a KubeProxyConfiguration object"),
    ("- 1", "expected a KubeProxyConfiguration object"),
    ("kind: KubeProxyConfiguration",
     "apiVersion: expected kubeproxy.config.k8s.io/v1alpha1, got None"),
    (HEAD.replace("KubeProxy", "Kubelet"),
     "kind: expected KubeProxyConfiguration, got 'KubeletConfiguration'"),
    ("a: [", "while parsing a flow node"),
    ("---\n---\n" + HEAD, "expected a KubeProxyConfiguration object"),  # the first one counts
    ("? [a]\n: b\n", "a key must be a string"),
    ("a: !!python/object:os.system x", "the tag tag:yaml.org,2002:python/object:os.system is not"),
    ("[" * 100_000, "more than 100 levels deep"),
    ('{"a": ' * 100_000, "more than 100 levels deep"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), NOT_A_CONFIGURATION)
def test_what_is_no_configuration_is_one_problem(text: str, problem: str) -> None:
    (found,) = read_text(text, ModeConfigs()).problems
    assert problem in found.at("")
    assert "\n" not in found.text


def test_a_written_configuration_reads_back() -> None:
    config = read_text(
        HEAD + "mode: nftables\nclusterCIDR: 10.0.0.0/8\nipvs: {excludeCIDRs: [1.2.3.0/24]}\n"
        "conntrack: {tcpEstablishedTimeout: 90m, maxPerCore: 0}\nfeatureGates: {AllBeta: true}",
        ModeConfigs(),
    ).config
    text = write_text(config)
    assert "tcpEstablishedTimeout: 1h30m0s" in text
    assert read_text(text, ModeConfigs()) == (config, (), (), ())
    older = read_text(text, ModeConfigs(), {"emulate": "1.36"}).config
    assert older.emulate is Version.V1_36
    assert read_text(write_text(older), ModeConfigs()).config == older


def test_load_config_names_the_file_in_each_problem(tmp_path: Path) -> None:
    path = tmp_path / "proxy.yaml"
    path.write_text(HEAD + "mode: ebpf\noomScoreAdj: 2000")
    with pytest.raises(BadInput) as bad:
        load_config(path, ModeConfigs())
    assert [line.split(": ")[:2] for line in bad.value.problems] == [
        [f"{path}:3", "mode"],
        [f"{path}:4", "oomScoreAdj"],
    ]


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "No such file"), (b"\xff\xfe\xff", "codec")]
)
def test_an_unreadable_file_is_bad_input(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    path = tmp_path / "proxy.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=problem):
        load_config(path, ModeConfigs())
