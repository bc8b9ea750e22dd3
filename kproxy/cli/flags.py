"""A table of kube-proxy's flags, and their conversion to a configuration.

A flag sets one or more fields of the configuration file and is spelled as in kube-proxy. Its value
is checked by the same code as the file's.
Source: kube-proxy v1.36 cmd/kube-proxy/app/options.go
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from kproxy.api.problems import Problem
from kproxy.config.decode import Read, from_values, to_values
from kproxy.config.defaults import HEALTHZ_PORT, METRICS_PORT, fill_platform, fill_ports
from kproxy.config.gates import gate_notices
from kproxy.config.types import ModeConfig, ProxyConfig
from kproxy.config.validation import problems
from kproxy.config.warnings import unset_mode


class Kind(enum.Enum):
    """The type of a flag's value; the member's value is its placeholder in the help."""

    TEXT = "TEXT"
    NUMBER = "N"
    SWITCH = "[=false]"
    DURATION = "DURATION"
    LIST = "LIST"
    GATES = "NAME=BOOL,..."
    PATTERNS = "PATTERN=N,..."


class Flag(Struct, frozen=True):
    """A flag. `fields` are paths in the file; `initial` is a default unlike the file's.

    A flag without fields completes another one, see `_PORTS`, or has no effect.
    """

    name: str
    kind: Kind
    fields: tuple[str, ...]
    help: str
    initial: str = ""


SECTIONS: Mapping[str, tuple[Flag, ...]] = {
    "Forwarding": (
        Flag("proxy-mode", Kind.TEXT, ("mode",), "Backend: iptables (default), ipvs or nftables."),
        Flag(
            "cluster-cidr",
            Kind.LIST,
            ("clusterCIDR",),
            "Addresses of pods, at most one CIDR of each family.",
        ),
        Flag(
            "detect-local-mode",
            Kind.TEXT,
            ("detectLocalMode",),
            "How to recognise local pods: ClusterCIDR (default), NodeCIDR, BridgeInterface "
            "or InterfaceNamePrefix.",
        ),
        Flag(
            "pod-bridge-interface",
            Kind.TEXT,
            ("detectLocal.bridgeInterface",),
            "The bridge of mode BridgeInterface.",
        ),
        Flag(
            "pod-interface-name-prefix",
            Kind.TEXT,
            ("detectLocal.interfaceNamePrefix",),
            "The prefix of mode InterfaceNamePrefix.",
        ),
        Flag(
            "nodeport-addresses",
            Kind.LIST,
            ("nodePortAddresses",),
            "Addresses of node ports: CIDRs, 'primary', 'localhost', 'all'. Default: all; "
            "primary with nftables.",
        ),
        Flag(
            "masquerade-all",
            Kind.SWITCH,
            ("iptables.masqueradeAll", "nftables.masqueradeAll"),
            "Masquerade all traffic to cluster IPs.",
        ),
        Flag(
            "bind-address",
            Kind.TEXT,
            ("bindAddress",),
            "The node's address, instead of the Node object's.",
        ),
        Flag(
            "feature-gates",
            Kind.GATES,
            ("featureGates",),
            "Feature gates such as AllowServiceExternalIPs.",
        ),
    ),
    "API server": (
        Flag(
            "kubeconfig",
            Kind.TEXT,
            ("clientConnection.kubeconfig",),
            "How to reach the API server, and as who. Default: the Pod's service account.",
        ),
        Flag(
            "kube-api-qps",
            Kind.TEXT,
            ("clientConnection.qps",),
            "Ignored: kproxy asks for each collection once, and then watches it.",
        ),
        Flag("kube-api-burst", Kind.NUMBER, ("clientConnection.burst",), "Ignored, likewise."),
        Flag(
            "kube-api-content-type",
            Kind.TEXT,
            ("clientConnection.contentType",),
            "Ignored: kproxy reads JSON.",
        ),
    ),
    "Timing": (
        Flag(
            "iptables-min-sync-period",
            Kind.DURATION,
            ("iptables.minSyncPeriod", "nftables.minSyncPeriod"),
            "Minimum time between syncs, iptables and nftables.",
        ),
        Flag(
            "iptables-sync-period",
            Kind.DURATION,
            ("iptables.syncPeriod", "nftables.syncPeriod"),
            "Maximum time until a failed sync is tried again.",
        ),
        Flag(
            "ipvs-min-sync-period",
            Kind.DURATION,
            ("ipvs.minSyncPeriod",),
            "Minimum time between syncs, ipvs.",
            "1s",  # a file's default is 0s
        ),
        Flag("ipvs-sync-period", Kind.DURATION, ("ipvs.syncPeriod",), "Time between full syncs."),
        Flag(
            "config-sync-period",
            Kind.DURATION,
            ("configSyncPeriod",),
            "Ignored: sources of kproxy need no resync.",
        ),
    ),
    "Modes in detail": (
        Flag(
            "iptables-masquerade-bit",
            Kind.NUMBER,
            ("iptables.masqueradeBit",),
            "Bit of the masquerade mark, iptables and ipvs.",
        ),
        Flag(
            "iptables-localhost-nodeports",
            Kind.SWITCH,
            ("iptables.localhostNodePorts",),
            "Node ports answer on 127.0.0.1 as well.",
        ),
        Flag(
            "ipvs-scheduler",
            Kind.TEXT,
            ("ipvs.scheduler",),
            "The scheduler, such as rr (default), lc, sh.",
        ),
        Flag(
            "ipvs-exclude-cidrs",
            Kind.LIST,
            ("ipvs.excludeCIDRs",),
            "Virtual servers to leave alone.",
        ),
        Flag("ipvs-strict-arp", Kind.SWITCH, ("ipvs.strictARP",), "Set arp_ignore, arp_announce."),
        Flag(
            "ipvs-tcp-timeout",
            Kind.DURATION,
            ("ipvs.tcpTimeout",),
            "Timeout of idle TCP connections; 0s leaves it as it is.",
        ),
        Flag(
            "ipvs-tcpfin-timeout",
            Kind.DURATION,
            ("ipvs.tcpFinTimeout",),
            "Timeout of TCP connections after a FIN.",
        ),
        Flag("ipvs-udp-timeout", Kind.DURATION, ("ipvs.udpTimeout",), "Timeout of UDP flows."),
    ),
    "Connection tracking (0 leaves a setting as it is)": (
        Flag(
            "conntrack-max-per-core",
            Kind.NUMBER,
            ("conntrack.maxPerCore",),
            "Size of the table; must be 0 except in the machine's first network namespace.",
        ),
        Flag("conntrack-min", Kind.NUMBER, ("conntrack.min",), "Minimum size of the table."),
        Flag(
            "conntrack-tcp-timeout-established",
            Kind.DURATION,
            ("conntrack.tcpEstablishedTimeout",),
            "Timeout of idle TCP connections.",
        ),
        Flag(
            "conntrack-tcp-timeout-close-wait",
            Kind.DURATION,
            ("conntrack.tcpCloseWaitTimeout",),
            "Timeout of TCP connections in CLOSE_WAIT.",
        ),
        Flag(
            "conntrack-tcp-be-liberal",
            Kind.SWITCH,
            ("conntrack.tcpBeLiberal",),
            "Accept packets out of the TCP window.",
        ),
        Flag(
            "conntrack-udp-timeout",
            Kind.DURATION,
            ("conntrack.udpTimeout",),
            "Timeout of UDP flows.",
        ),
        Flag(
            "conntrack-udp-timeout-stream",
            Kind.DURATION,
            ("conntrack.udpStreamTimeout",),
            "Timeout of UDP flows with replies.",
        ),
    ),
    "Health and metrics": (
        Flag(
            "healthz-bind-address",
            Kind.TEXT,
            ("healthzBindAddress",),
            "Address of /healthz and /livez; 0.0.0.0 is for IPv6, too.",
        ),
        Flag(
            "metrics-bind-address",
            Kind.TEXT,
            ("metricsBindAddress",),
            "Address of /metrics, /proxyMode, /configz, /flagz and /statusz.",
        ),
        Flag(
            "healthz-port",
            Kind.NUMBER,
            (),
            "Deprecated: the port if the address has none; 0 serves no health.",
            str(HEALTHZ_PORT),
        ),
        Flag(
            "metrics-port",
            Kind.NUMBER,
            (),
            "Deprecated: the port if the address has none.",
            str(METRICS_PORT),
        ),
        Flag(
            "bind-address-hard-fail",
            Kind.SWITCH,
            ("bindAddressHardFail",),
            "Exit if these servers cannot listen.",
        ),
        Flag(
            "profiling",
            Kind.SWITCH,
            ("enableProfiling",),
            "Serve /debug/flags/v, to change the verbosity; there is no pprof.",
        ),
        Flag(
            "show-hidden-metrics-for-version",
            Kind.TEXT,
            ("showHiddenMetricsForVersion",),
            "Without effect, as in kube-proxy: no metric is hidden.",
        ),
    ),
    "Process": (
        Flag(
            "oom-score-adj",
            Kind.NUMBER,
            ("oomScoreAdj",),
            "OOM score adjustment of this process, -1000..1000.",
        ),
        Flag(
            "machine-id-file",
            Kind.TEXT,
            (),
            "Without effect, as in kube-proxy.",
            "/etc/machine-id,/var/lib/dbus/machine-id",
        ),
        Flag(
            "boot-id-file",
            Kind.TEXT,
            (),
            "Without effect, as in kube-proxy.",
            "/proc/sys/kernel/random/boot_id",
        ),
        Flag("logging-format", Kind.TEXT, ("logging.format",), "Log lines of text or of json."),
        Flag("log-format", Kind.TEXT, ("logging.format",), "A short name of --logging-format."),
        Flag(
            "log-flush-frequency",
            Kind.DURATION,
            ("logging.flushFrequency",),
            "Without effect: each line is written at once.",
        ),
        Flag("v", Kind.NUMBER, ("logging.verbosity",), "Log more; also -v."),
        Flag(
            "vmodule",
            Kind.PATTERNS,
            ("logging.vmodule",),
            "Without effect: kproxy has other files than kube-proxy.",
        ),
    ),
}
FLAGS = {flag.name: flag for flags in SECTIONS.values() for flag in flags}
SWITCHES = {name for name, flag in FLAGS.items() if flag.kind is Kind.SWITCH}
# All their values count, not only the last.
REPEATED = {
    name for name, flag in FLAGS.items() if flag.kind in (Kind.LIST, Kind.GATES, Kind.PATTERNS)
}
_KEEP_DEFAULT_IF_EMPTY = {"healthz-bind-address", "metrics-bind-address"}
_PORTS = {"healthz-port": "healthzBindAddress", "metrics-port": "metricsBindAddress"}
_NOTHING: Mapping[str, Any] = {}
_TRUE, _FALSE = {"1", "t", "T", "true", "TRUE", "True"}, {"0", "f", "F", "false", "FALSE", "False"}


def from_flags(
    given: Mapping[str, tuple[str, ...]],
    modes: Mapping[str, ModeConfig],
    overrides: Mapping[str, Any] = _NOTHING,
) -> Read:
    """Return the configuration of flags without a file; `given` has the values of each flag.

    `overrides` has values that replace those, by field of the file.
    """
    initial = {name: (flag.initial,) for name, flag in FLAGS.items() if flag.initial}
    values: dict[str, Any] = {}
    faults: list[Problem] = []
    ports: dict[str, int] = {}
    for name, texts in {**initial, **given}.items():
        if name in _KEEP_DEFAULT_IF_EMPTY and not texts[-1]:
            continue
        try:
            value = _value(FLAGS[name], texts)
        except ValueError as error:
            faults.append(Problem(f"--{name}", str(error)))
            continue
        if name in _PORTS:
            ports[_PORTS[name]] = value
        for field in FLAGS[name].fields:
            _put(values, field, value)
    values |= overrides
    read = from_values(values)
    config = fill_platform(fill_ports(read.config, ports), modes)
    undecoded = {problem.field for problem in read.problems}
    invalid = [each for each in problems(config, modes) if each.field not in undecoded]
    found = dict.fromkeys((*faults, *map(_in_flags, (*read.problems, *invalid))))
    notices = gate_notices(config.feature_gates)
    at_start = unset_mode(config, chosen=bool(values.get("mode")))
    return Read(
        config, tuple(found), tuple(map(_in_flags, notices)), tuple(map(_in_flags, at_start))
    )


def initial_text(flag: Flag) -> str:
    """Return the default as the help shows it, "" if there is nothing to show."""
    if flag.initial or flag.name in REPEATED or flag.name in ("proxy-mode", "v"):
        return flag.initial
    value: Any = to_values(ProxyConfig())
    for part in flag.fields[0].split("."):
        value = value[part]
    return str(value).lower() if isinstance(value, bool) else str(value)


def parse_switch(text: str) -> bool:
    """Return a boolean, read as in Go. Raises ValueError."""
    if text not in _TRUE | _FALSE:
        raise ValueError(f"{text!r} is neither true nor false")
    return text in _TRUE


def _value(flag: Flag, texts: tuple[str, ...]) -> Any:
    match flag.kind:
        case Kind.SWITCH:
            return parse_switch(texts[-1])
        case Kind.NUMBER:
            return _number(texts[-1])
        case Kind.LIST if flag.fields == ("clusterCIDR",):
            return texts[-1]
        case Kind.LIST:
            return _entries(texts)
        case Kind.GATES:
            return dict(map(_gate, _entries(texts)))
        case Kind.PATTERNS:
            return [*map(_pattern, _entries(texts))]
        case _:
            return texts[-1]


def _entries(texts: tuple[str, ...]) -> list[str]:
    return [entry for text in texts for entry in text.split(",") if entry]


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None


def _gate(entry: str) -> tuple[str, bool]:
    name, equals, value = entry.partition("=")
    if not equals:
        raise ValueError(f"{entry!r} is not of the form name=true")
    return name.strip(), parse_switch(value.strip())


def _pattern(entry: str) -> dict[str, Any]:
    pattern, equals, verbosity = entry.partition("=")
    if not (pattern and equals):
        raise ValueError(f"{entry!r} is not of the form pattern=N")
    return {"filePattern": pattern, "verbosity": _number(verbosity)}


def _put(values: dict[str, Any], field: str, value: Any) -> None:
    *parents, last = field.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    values[last] = value


def _in_flags(problem: Problem) -> Problem:
    """Return the problem with the flag's name instead of the field's: equal for all its fields."""
    for flag in FLAGS.values():
        for field in flag.fields:
            if problem.field == field or problem.field.startswith(f"{field}."):
                return Problem(f"--{flag.name}{problem.field[len(field) :]}", problem.text)
    return problem
