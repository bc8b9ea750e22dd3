"""Command line flags are parsed to configurations. Nothing is run."""

from __future__ import annotations

from typing import Any

import click
import pytest

from kproxy.backend import ModeConfigs
from kproxy.cli.flag_command import FlagCommand, given_flags
from kproxy.cli.flags import from_flags
from kproxy.config import ProxyConfig, Seconds
from kproxy.config.decode import Read
from kproxy.config.types import FileVerbosity


@click.command(cls=FlagCommand)
def command(**parameters: Any) -> Any:
    return parameters


def parse(*arguments: str) -> Read:
    parameters = command.main(list(arguments), standalone_mode=False)
    return from_flags(given_flags(parameters), ModeConfigs())


def problems(*arguments: str) -> list[str]:
    return [problem.at("") for problem in parse(*arguments).problems]


def value(config: ProxyConfig, path: str) -> object:
    found: object = config
    for part in path.split("."):
        found = getattr(found, part)
    return found


FLAGS = [  # arguments -> path, value
    ("", "mode", "iptables"),
    ("--proxy-mode nftables", "mode", "nftables"),
    ("--proxy-mode=ipvs", "mode", "ipvs"),
    ("--proxy_mode=ipvs", "mode", "ipvs"),
    ("--proxy-mode=ipvs --proxy-mode=iptables", "mode", "iptables"),
    ("--masquerade-all", "iptables.masquerade_all", True),
    ("--masquerade-all", "nftables.masquerade_all", True),
    ("--masquerade_all", "iptables.masquerade_all", True),
    ("--masquerade-all=true", "iptables.masquerade_all", True),
    ("--masquerade-all=T", "iptables.masquerade_all", True),
    ("--masquerade-all=false", "iptables.masquerade_all", False),
    ("--masquerade-all --masquerade-all=0", "iptables.masquerade_all", False),
    ("--iptables-localhost-nodeports=false", "iptables.localhost_node_ports", False),
    ("--iptables-masquerade-bit 0", "iptables.masquerade_bit", 0),
    ("--iptables-min-sync-period=0s", "iptables.min_sync_period", 0),
    ("--iptables-min-sync-period=100ms", "nftables.min_sync_period", 0.1),
    ("--iptables-sync-period 1h0m0s", "iptables.sync_period", 3600),
    ("", "ipvs.min_sync_period", 1),  # a file's default is 0
    ("--ipvs-min-sync-period=0s", "ipvs.min_sync_period", 0),
    ("--cluster-cidr 10.0.0.0/8,fd00::/8", "cluster_cidrs", ("10.0.0.0/8", "fd00::/8")),
    ("--nodeport-addresses primary", "node_port_addresses", ("primary",)),
    ("--nodeport-addresses 10.0.0.0/8,11.0.0.0/8 --nodeport-addresses 12.0.0.0/8",
     "node_port_addresses", ("10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8")),
    ("--nodeport-addresses=", "node_port_addresses", ()),
    ("--proxy-mode nftables", "node_port_addresses", ("primary",)),
    ("--feature-gates AllBeta=true,AllowServiceExternalIPs=false --feature-gates=AllAlpha=false",
     "feature_gates", {"AllBeta": True, "AllowServiceExternalIPs": False, "AllAlpha": False}),
    ("--detect-local-mode BridgeInterface --pod-bridge-interface cni0",
     "detect_local.bridge_interface", "cni0"),
    ("--conntrack-max-per-core=0", "conntrack.max_per_core", 0),
    ("--conntrack-tcp-timeout-established=0s", "conntrack.tcp_established_timeout", 0),
    ("--healthz-bind-address=", "healthz_bind_address", "0.0.0.0:10256"),
    ("--bind-address fd00::1", "healthz_bind_address", "0.0.0.0:10256"),
    ("--healthz-port 0", "healthz_bind_address", ""),
    ("--healthz-port 80", "healthz_bind_address", "0.0.0.0:10256"),  # the default has a port
    ("--healthz-port 80 --healthz-bind-address 10.0.0.1", "healthz_bind_address", "10.0.0.1:80"),
    ("--healthz-bind-address ::1 --healthz-port 80", "healthz_bind_address", "[::1]:80"),
    ("--metrics-port 80 --metrics-bind-address 10.0.0.1", "metrics_bind_address", "10.0.0.1:80"),
    ("--metrics-bind-address 10.0.0.1", "metrics_bind_address", "10.0.0.1:10249"),
    ("--profiling", "enable_profiling", True),
    ("--show-hidden-metrics-for-version 1.36", "show_hidden_metrics_for_version", "1.36"),
    ("--oom-score-adj=-5", "oom_score_adj", -5),
    ("--machine-id-file=/etc/m --boot-id-file /etc/b", "mode", "iptables"),
    ("-v", "logging.verbosity", 1),
    ("-v 4", "logging.verbosity", 4),
    ("-v --masquerade-all", "logging.verbosity", 1),
    ("-v=4", "logging.verbosity", 4),
    ("-v4", "logging.verbosity", 4),
    ("--v=4", "logging.verbosity", 4),
    ("--log-format json", "logging.format", "json"),
    ("--logging-format=json", "logging.format", "json"),
    ("--log-flush-frequency 1m", "logging.flush_frequency", "1m"),
    ("--vmodule=proxier=4,con*=2 --vmodule topology=1", "logging.vmodule",
     (FileVerbosity(file_pattern="proxier", verbosity=4),
      FileVerbosity(file_pattern="con*", verbosity=2),
      FileVerbosity(file_pattern="topology", verbosity=1))),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "path", "expected"), FLAGS)
def test_flags(arguments: str, path: str, expected: object) -> None:
    read = parse(*arguments.split())
    assert read.problems == ()
    assert value(read.config, path) == expected


PROBLEMS = [
    ("--proxy-mode ebpf", "--proxy-mode: 'ebpf' is not one of iptables, ipvs, nftables, userspace"),
    ("--masquerade-all=maybe", "--masquerade-all: 'maybe' is neither true nor false"),
    ("--iptables-masquerade-bit x", "--iptables-masquerade-bit: 'x' is not a number"),
    ("--iptables-masquerade-bit 32", "--iptables-masquerade-bit: 32 is not in 0..31"),
    ("--iptables-sync-period 30",
     "--iptables-sync-period: '30' is not a duration such as 30s or 1h0m0s"),
    ("--iptables-min-sync-period 1m",
     "--iptables-sync-period: 30s is less than minSyncPeriod 1m0s"),
    ("--detect-local-mode BridgeInterface",
     "--pod-bridge-interface: is required by detectLocalMode BridgeInterface"),
    ("--detect-local-mode InterfaceNamePrefix",
     "--pod-interface-name-prefix: is required by detectLocalMode InterfaceNamePrefix"),
    ("--cluster-cidr 10", "--cluster-cidr: '10' is not a CIDR such as 10.244.0.0/16"),
    ("--nodeport-addresses 10",
     "--nodeport-addresses: '10' is neither a CIDR nor one of primary, localhost, all"),
    ("--feature-gates AllBeta", "--feature-gates: 'AllBeta' is not of the form name=true"),
    ("--feature-gates NFTablesProxyMode=false",
     "--feature-gates.NFTablesProxyMode: is locked to true"),
    ("--bind-address node-a", "--bind-address: 'node-a' is not an IP address"),
    ("--conntrack-min -1", "--conntrack-min: is negative"),
    ("--healthz-port x", "--healthz-port: 'x' is not a number"),
    ("--metrics-port 0", "--metrics-bind-address: '' is not of the form IP:port"),
    ("--logging-format xml", "--logging-format: 'xml' is not one of text, json"),
    ("--v=-1", "--v: expected int >= 0"),
    ("--log-flush-frequency 5",
     "--log-flush-frequency: '5' is not a duration such as 30s or 1h0m0s"),
    ("--vmodule proxier", "--vmodule: 'proxier' is not of the form pattern=N"),
    ("--vmodule =4", "--vmodule: '=4' is not of the form pattern=N"),
    ("--vmodule proxier=all", "--vmodule: 'all' is not a number"),
    ("--vmodule proxier=4 --logging-format json", "--vmodule: is only for the text format"),
    ("--show-hidden-metrics-for-version 1.35",
     "--show-hidden-metrics-for-version: '1.35' is not 1.36, the minor version before 1.37"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "problem"), PROBLEMS)
def test_problems_name_the_flag(arguments: str, problem: str) -> None:
    assert problems(*arguments.split()) == [problem]


def test_all_problems_are_found_at_once() -> None:
    assert (
        len(problems("--proxy-mode=ebpf", "--iptables-masquerade-bit=x", "--bind-address=y")) == 3
    )


def test_no_flags_are_the_default_but_for_ipvs() -> None:
    config = parse().config
    assert config.ipvs.min_sync_period == Seconds(1)
    assert config.iptables == ProxyConfig().iptables
    assert config.conntrack == ProxyConfig().conntrack


@pytest.mark.parametrize("arguments", ["--no-such-flag", "positional", "--masquerade-all false"])
def test_what_is_no_flag_is_a_usage_error(arguments: str) -> None:
    with pytest.raises(click.UsageError):
        parse(*arguments.split())
