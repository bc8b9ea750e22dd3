"""Validates configurations. Source: kube-proxy v1.36 apis/config/validation/validation.go"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from kproxy.address import family_of_parsed, split_host_port
from kproxy.api.addresses import parse_cidr, parse_ip
from kproxy.api.problems import Problem
from kproxy.config.durations import format_duration, parse_duration
from kproxy.config.gates import GATES, enabled, gate_problems
from kproxy.config.types import ALL, LOCALHOST, PRIMARY, Logging, ModeConfig, ProxyConfig
from kproxy.versions import NODE_PORT_KEYWORDS, Version

DETECT_LOCAL_MODES = ("ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix")
_INTERFACE_NAME_MAX = 15  # IFNAMSIZ - 1


def problems(config: ProxyConfig, modes: Mapping[str, ModeConfig]) -> tuple[Problem, ...]:
    """Return all problems; `modes` has the values allowed for `mode`."""
    mode = modes[config.mode] if config.mode in modes else ModeConfig()
    return (
        *_general(config, modes),
        *_timing(config, mode),
        *_local(config),
        *_mode_specific(config, mode),
    )


def _general(config: ProxyConfig, modes: Mapping[str, ModeConfig]) -> Iterator[Problem]:
    if config.mode not in modes:
        yield Problem("mode", _not_one_of(config.mode, modes))
    elif (gate := modes[config.mode].gate) and _switched_off(config, gate):
        others = [name for name in modes if name != config.mode]
        why = f"needs feature gate {gate}, which is off; others are {', '.join(others)}"
        yield Problem("mode", f"{config.mode} {why}")
    if parse_ip(config.bind_address) is None:
        yield Problem("bindAddress", f"{config.bind_address!r} is not an IP address")
    if config.healthz_bind_address:
        yield from _listener("healthzBindAddress", config.healthz_bind_address)
    yield from _listener("metricsBindAddress", config.metrics_bind_address)
    yield from _node_port_addresses(config.node_port_addresses, config.emulate)
    if not -1000 <= config.oom_score_adj <= 1000:
        yield Problem("oomScoreAdj", f"{config.oom_score_adj} is not in -1000..1000")
    if config.client_connection.burst < 0:
        yield Problem("clientConnection.burst", f"{config.client_connection.burst} is negative")
    yield from _logging(config.logging)
    yield from gate_problems(config.feature_gates, config.emulate)
    yield from _hidden_metrics(config.show_hidden_metrics_for_version, config.emulate)
    conntrack = config.conntrack
    for name, value in (
        ("maxPerCore", conntrack.max_per_core),
        ("min", conntrack.min),
        ("tcpEstablishedTimeout", conntrack.tcp_established_timeout),
        ("tcpCloseWaitTimeout", conntrack.tcp_close_wait_timeout),
        ("udpTimeout", conntrack.udp_timeout),
        ("udpStreamTimeout", conntrack.udp_stream_timeout),
    ):
        if value < 0:
            yield Problem(f"conntrack.{name}", "is negative")


def _timing(config: ProxyConfig, mode: ModeConfig) -> Iterator[Problem]:
    section, timing = mode.timing, mode.timing_of(config)
    period, least = timing.sync_period, timing.min_sync_period
    if period <= 0:
        yield Problem(f"{section}.syncPeriod", f"{format_duration(period)} is not above 0")
    if least < 0:
        yield Problem(f"{section}.minSyncPeriod", f"{format_duration(least)} is negative")
    if period < least:
        both = f"{format_duration(period)} is less than minSyncPeriod {format_duration(least)}"
        yield Problem(f"{section}.syncPeriod", both)
    if config.config_sync_period <= 0:
        text = f"{format_duration(config.config_sync_period)} is not above 0"
        yield Problem("configSyncPeriod", text)


def _local(config: ProxyConfig) -> Iterator[Problem]:
    match config.detect_local_mode:
        case "ClusterCIDR":
            yield from _cluster_cidrs(config.cluster_cidrs)
        case "NodeCIDR":
            pass
        case "BridgeInterface":
            yield from _interface(
                "detectLocal.bridgeInterface",
                config.detect_local.bridge_interface,
                "BridgeInterface",
            )
        case "InterfaceNamePrefix":
            yield from _interface(
                "detectLocal.interfaceNamePrefix",
                config.detect_local.interface_name_prefix,
                "InterfaceNamePrefix",
            )
        case mode:
            yield Problem("detectLocalMode", _not_one_of(mode, DETECT_LOCAL_MODES))


def _cluster_cidrs(cidrs: tuple[str, ...]) -> Iterator[Problem]:
    networks = [parse_cidr(text) for text in cidrs]
    for text, network in zip(cidrs, networks, strict=True):
        if network is None:
            yield Problem("clusterCIDR", f"{text!r} is not a CIDR such as 10.244.0.0/16")
    known = [network for network in networks if network]
    if len(cidrs) > 2:
        yield Problem("clusterCIDR", f"{len(cidrs)} CIDRs; at most one of each family is allowed")
    elif len(known) == 2 and family_of_parsed(known[0]) is family_of_parsed(known[1]):
        yield Problem("clusterCIDR", "two CIDRs of the same family")


def _interface(field: str, name: str, mode: str) -> Iterator[Problem]:
    """Check an interface name. It goes into rules, so this is stricter than kube-proxy's check."""
    if not name:
        yield Problem(field, f"is required by detectLocalMode {mode}")
    elif len(name) > _INTERFACE_NAME_MAX or not name.isprintable() or set(name) & set(" /\"'\\"):
        yield Problem(field, f"{name!r} cannot be (the start of) the name of an interface")


def _logging(logging: Logging) -> Iterator[Problem]:
    if logging.format not in ("text", "json"):
        yield Problem("logging.format", _not_one_of(logging.format, ("text", "json")))
    if isinstance(logging.flush_frequency, str):
        try:
            parse_duration(logging.flush_frequency)
        except ValueError as error:
            yield Problem("logging.flushFrequency", str(error))
    if logging.vmodule and logging.format != "text":
        yield Problem("logging.vmodule", "is only for the text format")
    for each in logging.vmodule:
        if not each.file_pattern:
            yield Problem("logging.vmodule", "filePattern is empty")
        elif {*each.file_pattern} & {"=", ","}:
            yield Problem("logging.vmodule", f"{each.file_pattern!r} has an equal sign or a comma")


def _mode_specific(config: ProxyConfig, mode: ModeConfig) -> Iterator[Problem]:
    bits = {
        "iptables": config.iptables.masquerade_bit,  # in every mode
        mode.masquerade: mode.masquerade_of(config).masquerade_bit,
    }
    for section, bit in bits.items():
        if not 0 <= bit <= 31:
            yield Problem(f"{section}.masqueradeBit", f"{bit} is not in 0..31")
    check = _SECTIONS.get(mode.section)
    if check:
        yield from check(config)


def _ipvs(config: ProxyConfig) -> Iterator[Problem]:
    ipvs = config.ipvs
    for name, value in (
        ("tcpTimeout", ipvs.tcp_timeout),
        ("tcpFinTimeout", ipvs.tcp_fin_timeout),
        ("udpTimeout", ipvs.udp_timeout),
    ):
        if value < 0:
            yield Problem(f"ipvs.{name}", "is negative")
    for text in ipvs.exclude_cidrs:
        if parse_cidr(text) is None:
            yield Problem("ipvs.excludeCIDRs", f"{text!r} is not a CIDR")


# Checks of sections of KubeProxyConfiguration, done only in the mode that reads the section.
_SECTIONS: Mapping[str, Callable[[ProxyConfig], Iterator[Problem]]] = {"ipvs": _ipvs}


def _node_port_addresses(entries: tuple[str, ...], version: Version) -> Iterator[Problem]:
    where = "nodePortAddresses"
    keywords = (PRIMARY, LOCALHOST, ALL)
    if version.has(NODE_PORT_KEYWORDS):
        for text in entries:
            if text not in keywords and parse_cidr(text) is None:
                yield Problem(where, f"{text!r} is neither a CIDR nor one of {', '.join(keywords)}")
        return
    since = f"(kube-proxy {NODE_PORT_KEYWORDS.since} takes it)"
    if entries == (PRIMARY,):
        return
    for text in entries:
        if text == PRIMARY:
            yield Problem(where, f"'primary' must be the only entry {since}")
        elif text in keywords:
            yield Problem(where, f"{text!r} is neither a CIDR nor 'primary' {since}")
        elif parse_cidr(text) is None:
            yield Problem(where, f"{text!r} is neither a CIDR nor 'primary'")


def _switched_off(config: ProxyConfig, gate: str) -> bool:
    """Tell whether a gate is off. One that this version does not know cannot be."""
    version = config.emulate
    return GATES[gate].known_in(version) and not enabled(config.feature_gates, gate, version)


def _hidden_metrics(text: str, version: Version) -> Iterator[Problem]:
    major, _, minor = version.value.partition("-")[0].partition(".")
    former = f"{major}.{int(minor) - 1}"
    if text not in ("", former):
        where = "showHiddenMetricsForVersion"
        yield Problem(where, f"{text!r} is not {former}, the minor version before {version}")


def _listener(field: str, text: str) -> Iterator[Problem]:
    parts = split_host_port(text)
    if parts is None:
        yield Problem(field, f"{text!r} is not of the form IP:port")
        return
    host, port = parts
    if parse_ip(host) is None:
        yield Problem(field, f"{host!r} is not an IP address")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        yield Problem(field, f"port {port!r} is not in 1..65535")


def _not_one_of(value: str, allowed: Collection[str]) -> str:
    return f"{value!r} is not one of {', '.join(allowed)}"
