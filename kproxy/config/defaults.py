"""The defaults that are not the initial value of a field.

Source: kube-proxy v1.36 apis/config/v1alpha1/defaults.go, cmd/kube-proxy/app/server_linux.go
(platformApplyDefaults).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from kproxy.address import Family, family_of_parsed
from kproxy.api.addresses import parse_ip
from kproxy.config.addresses import with_port
from kproxy.config.types import ModeConfig, ProxyConfig

HEALTHZ_PORT, METRICS_PORT = 10256, 10249
_NO_PORTS: Mapping[str, int] = {}


def fill_file(config: ProxyConfig, values: Mapping[str, Any]) -> ProxyConfig:
    """Fill in the defaults of a file: `config` was read from `values`.

    In a file zero and empty mean "not set"; on the command line they are values.
    """
    initial = ProxyConfig()
    bind = parse_ip(config.bind_address)
    ipv6 = bind is not None and family_of_parsed(bind) is Family.IPV6
    healthz = values.get("healthzBindAddress") or ("::" if ipv6 else "0.0.0.0")
    metrics = values.get("metricsBindAddress") or ("::1" if ipv6 else "127.0.0.1")
    connection, iptables, nftables = config.client_connection, config.iptables, config.nftables
    config = fill_ports(
        replace(config, healthz_bind_address=str(healthz), metrics_bind_address=str(metrics))
    )
    return replace(
        config,
        bind_address=config.bind_address or initial.bind_address,
        config_sync_period=config.config_sync_period or initial.config_sync_period,
        iptables=replace(
            iptables,
            sync_period=iptables.sync_period or initial.iptables.sync_period,
            min_sync_period=iptables.min_sync_period or initial.iptables.min_sync_period,
        ),
        ipvs=replace(config.ipvs, sync_period=config.ipvs.sync_period or initial.ipvs.sync_period),
        nftables=replace(
            nftables,
            sync_period=nftables.sync_period or initial.nftables.sync_period,
            min_sync_period=nftables.min_sync_period or initial.nftables.min_sync_period,
        ),
        client_connection=replace(
            connection,
            content_type=connection.content_type or initial.client_connection.content_type,
            qps=connection.qps or initial.client_connection.qps,
            burst=connection.burst or initial.client_connection.burst,
        ),
    )


def fill_ports(config: ProxyConfig, ports: Mapping[str, int] = _NO_PORTS) -> ProxyConfig:
    """Append ports to the addresses of servers that have none.

    `ports` has them by field, 0 for no address at all; others are the default ones.
    """
    healthz = ports.get("healthzBindAddress", HEALTHZ_PORT)
    metrics = ports.get("metricsBindAddress", METRICS_PORT)
    return replace(
        config,
        healthz_bind_address=with_port(config.healthz_bind_address, healthz) if healthz else "",
        metrics_bind_address=with_port(config.metrics_bind_address, metrics) if metrics else "",
    )


def fill_platform(config: ProxyConfig, modes: Mapping[str, ModeConfig]) -> ProxyConfig:
    """Fill in the defaults that on Linux apply to files and flags alike."""
    mode = config.mode or ProxyConfig().mode
    unset = modes[mode].node_port_addresses if mode in modes else ()
    return replace(
        config,
        mode=mode,
        detect_local_mode=config.detect_local_mode or "ClusterCIDR",
        node_port_addresses=config.node_port_addresses or unset,
    )
