"""The settings of one node, by family, from a configuration. Source: kube-proxy v1.36,
cmd/kube-proxy/app/server.go (newProxyServer, detectNodeIPs), server_linux.go (getLocalDetectors),
pkg/proxy/util/nodeport_addresses.go, pkg/proxy/config/config.go (ServiceCIDRConfig).
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_network
from itertools import chain

from msgspec.structs import replace

from kproxy.address import Family, family_of_parsed
from kproxy.api.addresses import Address, Network, parse_cidr, parse_ip
from kproxy.api.types import Node
from kproxy.config.gates import enabled
from kproxy.config.types import ALL, LOCALHOST, PRIMARY, ModeConfig, ProxyConfig
from kproxy.errors import BadInput
from kproxy.forwarding.plan import (
    BackendOptions,
    DetectLocal,
    LocalDetector,
    LoopbackNodePorts,
    NodePortAddresses,
    NodeSettings,
)

ZONE_LABEL = "topology.kubernetes.io/zone"
_LOOPBACK_NETWORK = ip_network("127.0.0.0/8")
_ANY_ADDRESS = ProxyConfig().bind_address
_ANY_MODE = ModeConfig()
_NO_OPTIONS = BackendOptions()


def node_settings(
    config: ProxyConfig,
    node: Node | None,
    service_cidrs: Collection[str] = (),
    *,
    mode: ModeConfig = _ANY_MODE,
    options: BackendOptions = _NO_OPTIONS,
) -> dict[Family, NodeSettings]:
    """Return the settings of both families. `node` is this node's object, None if it is unknown.

    `service_cidrs`: those of all ServiceCIDR objects, in any order. `mode`: how the mode reads the
    configuration. `options`: the mode's own.
    `config` must be valid and hold the node name as `hostname_override`.
    Raises BadInput without a node name, and in detectLocalMode NodeCIDR without pod CIDRs.
    """
    name = node_name(config)
    addresses = node_addresses(config, node)
    detectors = _detectors(config, node)
    zone = node.metadata.labels.get(ZONE_LABEL, "") if node else ""
    masquerade = mode.masquerade_of(config)
    settings = {}
    for family in Family:
        node_ports = _node_port_addresses(config, family, addresses)
        settings[family] = NodeSettings(
            family=family,
            node_name=name,
            node_ip=str(addresses[family]),
            zone=zone,
            detector=detectors.get(family),
            masquerade_all=masquerade.masquerade_all,
            masquerade_bit=masquerade.masquerade_bit,
            node_port_addresses=node_ports,
            localhost_node_ports=mode.localhost_node_ports
            and _localhost_node_ports(config, family, node_ports),
            loopback_node_ports=_loopback_node_ports(config, family, addresses, mode),
            allow_external_ips=enabled(
                config.feature_gates, "AllowServiceExternalIPs", config.emulate
            ),
            service_cidrs=_service_cidrs(family, service_cidrs) if mode.service_cidrs else (),
            options=options,
            emulate=config.emulate,
        )
    return settings


def of_node(config: ProxyConfig, name: str) -> ProxyConfig:
    """Return the configuration for the node of this name. If it names another node, its bindAddress
    is that one's, and is left out.
    """
    own = replace(config, hostname_override=name)
    if config.hostname_override.strip().lower() in ("", name):
        return own
    return replace(own, bind_address=_ANY_ADDRESS)


def node_name(config: ProxyConfig) -> str:
    """Return the node's name, trimmed and lower-cased. Raises BadInput if it is empty."""
    name = config.hostname_override.strip().lower()
    if not name:
        raise BadInput(["hostnameOverride: the node has no name"])
    return name


def node_addresses(config: ProxyConfig, node: Node | None) -> dict[Family, Address]:
    """Return an address of each family, loopback if none is known; the primary family is first."""
    found: dict[Family, Address] = {}
    bind = parse_ip(config.bind_address)
    if bind and not bind.is_unspecified:
        found[family_of_parsed(bind)] = bind
    for address in _raw_addresses(node):
        found.setdefault(family_of_parsed(address), address)
    for text in ("127.0.0.1", "::1"):
        if (loopback := parse_ip(text)) and family_of_parsed(loopback) not in found:
            found[family_of_parsed(loopback)] = loopback
    return found


def primary_family(config: ProxyConfig, node: Node | None) -> Family:
    """Return the family that must work even if the machine supports only one."""
    return next(iter(node_addresses(config, node)))


def pod_cidrs(node: Node | None) -> tuple[str, ...]:
    if node is None:
        return ()
    return node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ())


def _raw_addresses(node: Node | None) -> list[Address]:
    """Return the internal addresses in order, then the external ones."""
    listed = node.status.addresses if node else ()
    of_type = (
        [parse_ip(each.address) for each in listed if each.type == wanted]
        for wanted in ("InternalIP", "ExternalIP")
    )
    return [address for address in chain.from_iterable(of_type) if address]


def _detectors(config: ProxyConfig, node: Node | None) -> dict[Family, LocalDetector]:
    match config.detect_local_mode:
        case "BridgeInterface":
            bridge = LocalDetector(DetectLocal.BRIDGE, config.detect_local.bridge_interface)
            return dict.fromkeys(Family, bridge)
        case "InterfaceNamePrefix":
            prefix = LocalDetector(DetectLocal.PREFIX, config.detect_local.interface_name_prefix)
            return dict.fromkeys(Family, prefix)
        case "NodeCIDR":
            cidrs = pod_cidrs(node)
            if not cidrs:
                name = node_name(config)
                raise BadInput(
                    [f"detectLocalMode NodeCIDR: no Node {name} with spec.podCIDRs"],
                    remedy="give the Node object, or set another detectLocalMode",
                )
        case _:
            cidrs = config.cluster_cidrs
    networks = [network for text in cidrs if (network := parse_cidr(text))]
    return {
        family_of_parsed(network): LocalDetector(DetectLocal.CIDR, str(network))
        for network in reversed(networks)  # the first of each family takes effect
    }


def _node_port_addresses(
    config: ProxyConfig, family: Family, addresses: dict[Family, Address]
) -> NodePortAddresses:
    """Return the node port addresses: all if no CIDR of this family is listed, or a /0 is."""
    networks = node_port_networks(config, addresses)
    own = [network for network in networks if family_of_parsed(network) is family]
    if any(network.prefixlen == 0 for network in own):
        return NodePortAddresses()
    return NodePortAddresses(tuple(dict.fromkeys(str(network) for network in own)))


def node_port_networks(config: ProxyConfig, addresses: dict[Family, Address]) -> list[Network]:
    """Return nodePortAddresses as networks; `primary` stands for the addresses that are known."""
    keywords = {
        PRIMARY: [ip_network(each) for each in addresses.values() if not each.is_loopback],
        LOCALHOST: [_LOOPBACK_NETWORK, ip_network("::1/128")],
        ALL: [ip_network("0.0.0.0/0"), ip_network("::/0")],
    }
    found: list[Network] = []
    for text in config.node_port_addresses:
        if text in keywords:
            found += keywords[text]
        elif network := parse_cidr(text):
            found.append(network)
    return found


def _localhost_node_ports(
    config: ProxyConfig, family: Family, node_ports: NodePortAddresses
) -> bool:
    if family is not Family.IPV4 or not config.iptables.localhost_node_ports:
        return False
    return node_ports.match_all or any(
        ip_network(cidr).overlaps(_LOOPBACK_NETWORK) for cidr in node_ports.cidrs
    )


def _loopback_node_ports(
    config: ProxyConfig, family: Family, addresses: dict[Family, Address], mode: ModeConfig
) -> LoopbackNodePorts:
    """Return what is done with node ports on loopback addresses, beyond what rules do."""
    gate = mode.loopback_gate
    if not (gate and enabled(config.feature_gates, gate, config.emulate)):
        return LoopbackNodePorts.IGNORED
    listed = any(
        family_of_parsed(network) is family and network.network_address.is_loopback
        for network in node_port_networks(config, addresses)
    )
    return LoopbackNodePorts.SERVED if listed else LoopbackNodePorts.REJECTED


def host_ips(node: Node | None) -> tuple[Address, ...]:
    """Return the addresses that make up the identity of a node: the first one, and the first of
    the other family if there is one. Source: pkg/util/node, GetNodeHostIPs.
    """
    found: dict[Family, Address] = {}
    for each in _raw_addresses(node):
        found.setdefault(family_of_parsed(each), each)
    return tuple(found.values())


def _service_cidrs(family: Family, cidrs: Collection[str]) -> tuple[str, ...]:
    networks = {network for text in cidrs if (network := parse_cidr(text))}
    own = sorted(str(network) for network in networks if family_of_parsed(network) is family)
    return tuple(own)
