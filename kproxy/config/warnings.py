"""Warnings of a start: a configuration may be allowed and yet hardly meant.

Source: kube-proxy v1.36 cmd/kube-proxy/app/server.go (checkBadConfig, checkBadIPConfig), which logs
them as errors; server_linux.go (getLocalDetectors); pkg/proxy/iptables, nftables (loopback).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from kproxy.address import Family, family_of_parsed, split_host_port
from kproxy.api.addresses import Network, parse_cidr, parse_ip
from kproxy.api.problems import Problem
from kproxy.api.types import Node
from kproxy.config.gates import GATES
from kproxy.config.node import (
    node_addresses,
    node_port_networks,
    pod_cidrs,
    primary_family,
)
from kproxy.config.types import ModeConfig, ProxyConfig
from kproxy.errors import BadInput
from kproxy.versions import LOOPBACK_LISTED_SILENTLY, WARNS_OF_UNSET_MODE


def start_warnings(
    config: ProxyConfig, node: Node | None, families: Collection[Family], mode: ModeConfig
) -> list[str]:
    """Return the warnings of a start on a node. `families`: those that work there.

    Raises BadInput where kube-proxy does not start: all pod CIDRs of the Node are of the wrong
    family, in detectLocalMode NodeCIDR.
    """
    primary = primary_family(config, node)
    return [
        *_of_mode(config, mode),
        *_profiling(config),
        *_node_ports(config, node, primary),
        *_loopback(config, node, families, mode),
        *_wrong_family(config, node, primary, single=len(families) == 1),
        *_local(config, primary),
    ]


def unset_mode(config: ProxyConfig, *, chosen: bool) -> list[Problem]:
    """Return a notice if the mode was not chosen, but is the default. Its wording is kproxy's."""
    if chosen or not config.emulate.has(WARNS_OF_UNSET_MODE):
        return []
    text = f"is not set, so it is {config.mode}; from 1.40 on kube-proxy will use nftables then"
    return [Problem("mode", f"{text}. Set it to keep what you have")]


def _of_mode(config: ProxyConfig, mode: ModeConfig) -> Iterator[str]:
    if mode.warning:
        gate = GATES.get(mode.gate)
        planned = gate.plan if gate and gate.known_in(config.emulate) else ""
        plan = f" (gate {mode.gate} is planned to be {planned})" if planned else ""
        yield mode.warning + plan


def _profiling(config: ProxyConfig) -> Iterator[str]:
    if config.enable_profiling:
        yield (
            "enableProfiling: kproxy has no pprof, so /debug/pprof answers 404; /debug/flags/v is"
            " served"
        )


def _node_ports(config: ProxyConfig, node: Node | None, primary: Family) -> Iterator[str]:
    other = primary.other
    found = _families(node_port_networks(config, node_addresses(config, node)))
    lists = (config.cluster_cidrs, config.node_port_addresses, config.ipvs.exclude_cidrs)
    dual = any(len(_of_texts(each)) == 2 for each in (*lists, _node_pod_cidrs(config, node)))
    if not found and config.node_port_addresses:  # primary, once or several times
        yield (
            "nodePortAddresses is primary, but no address of this node is known; node ports accept"
            " connections on all addresses. Give the Node object, or bindAddress"
        )
    elif not found:
        yield (
            "nodePortAddresses is unset; node ports accept connections on all addresses of the"
            " node. Consider nodePortAddresses: [primary] (--nodeport-addresses primary)"
        )
    elif dual and found == {primary}:
        yield (
            f"the cluster appears to be dual-stack, but nodePortAddresses has only {primary.value}"
            f" addresses; node ports accept connections on all {other.value} addresses of the node"
        )
    elif primary not in found:
        yield (
            f"the cluster appears to be {primary.value}-primary, but nodePortAddresses has only"
            f" {other.value} addresses; node ports accept connections on all {primary.value}"
            " addresses of the node"
        )


def _loopback(
    config: ProxyConfig, node: Node | None, families: Collection[Family], mode: ModeConfig
) -> Iterator[str]:
    """Warn of loopback addresses that are listed: only IPv4 of iptables mode serves them."""
    if LOOPBACK_LISTED_SILENTLY.in_force(config.emulate, config.mode):
        return
    for network in node_port_networks(config, node_addresses(config, node)):
        if not network.is_loopback or network.prefixlen == 0:
            continue
        family = family_of_parsed(network)
        served = mode.localhost_node_ports and family is Family.IPV4
        if family not in families or (served and config.iptables.localhost_node_ports):
            continue
        why = "iptables.localhostNodePorts is false" if served else "no node port answers there"
        yield f"nodePortAddresses has the loopback addresses {network}, but {why}"


def _wrong_family(
    config: ProxyConfig, node: Node | None, primary: Family, *, single: bool
) -> Iterator[str]:
    other = primary.other
    cluster = f"the cluster is {primary.value}-{'only' if single else 'primary'}, but"
    if _of_texts(config.cluster_cidrs) == {other}:
        yield f"{cluster} clusterCIDR has only {other.value} addresses"
    if _of_texts(_node_pod_cidrs(config, node)) == {other}:
        told = f"{cluster} spec.podCIDRs of the Node has only {other.value} addresses"
        if config.detect_local_mode == "NodeCIDR":
            raise BadInput([f"detectLocalMode NodeCIDR: {told}"])
        yield told
    if not single:
        return
    if _of_texts(config.ipvs.exclude_cidrs) == {other}:
        yield f"{cluster} ipvs.excludeCIDRs has only {other.value} addresses"
    for field, text in (
        ("healthzBindAddress", config.healthz_bind_address),
        ("metricsBindAddress", config.metrics_bind_address),
    ):
        address = parse_ip((split_host_port(text) or ("", ""))[0])
        if address and not address.is_unspecified and family_of_parsed(address) is other:
            yield f"{cluster} {field} is {text}"


def _local(config: ProxyConfig, primary: Family) -> Iterator[str]:
    if config.detect_local_mode == "ClusterCIDR" and primary not in _of_texts(config.cluster_cidrs):
        yield (
            f"clusterCIDR has no {primary.value} addresses; traffic of pods is not told from"
            " traffic from outside. Set clusterCIDR (--cluster-cidr), or another detectLocalMode"
        )


def _node_pod_cidrs(config: ProxyConfig, node: Node | None) -> tuple[str, ...]:
    """Return the pod CIDRs of the Node, which kube-proxy knows only in one mode."""
    return pod_cidrs(node) if config.detect_local_mode == "NodeCIDR" else ()


def _of_texts(cidrs: Iterable[str]) -> set[Family]:
    return _families(network for text in cidrs if (network := parse_cidr(text)))


def _families(networks: Iterable[Network]) -> set[Family]:
    return {family_of_parsed(network) for network in networks}
