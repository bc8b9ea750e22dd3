"""Network models: how pods are attached, how nodes reach each other's pods, what is masqueraded.

A model is one declaration in `MODELS`; `kproxy.lab.topology` builds its links, routes and rules.
Rules are those of iptables, with these names in braces:

    {own}      the pod subnet of the node          {pods}   all pods of the cluster
    {private}  each private range of the family, one rule for each (RFC 1918; fd00::/8)
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Attachment(enum.Enum):
    """The ways in which a pod can be connected to its node."""

    VETH = "veth"
    """A point-to-point link of its own: all that the pod sends passes the node's netfilter."""

    BRIDGE = "bridge"
    """A bridge (`cni0`) without bridge netfilter: packets between pods of a node bypass the node's
    netfilter, also answers that it would have had to translate back."""

    FILTERED_BRIDGE = "filtered-bridge"
    """A bridge with `bridge-nf-call-iptables=1` and hairpin ports, as CNI's bridge plugin makes."""

    UNDERLAY = "underlay"
    """Its own port of the VPC, which bypasses the node. A second link leads to the node, only for
    the service CIDRs and the node's own addresses."""


class Transport(enum.Enum):
    """The ways in which a packet can reach a pod of another node."""

    ROUTER = "router"
    """The VPC router knows which node has which pod subnet."""

    VXLAN = "vxlan"
    """Encapsulated between the nodes (RFC 7348); the VPC knows nothing of pods."""

    HOSTS = "hosts"
    """Nodes are neighbours on one segment, and each has routes to the others' pods."""

    UNDERLAY = "underlay"
    """Pod addresses are VPC addresses: the router reaches each pod by a port of the VPC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkModel:
    """One network of a cluster.

    `masquerade` has the rules for packets that leave the node, in this order, before kube-proxy's.
    With `strict`, nodes drop packets that arrive by a link that the way back would not use
    (rp_filter 1). With `source_check`, the VPC drops packets that a port sends from addresses that
    are not the port's (source/destination check, anti-spoofing). `vni` is that of VXLAN devices.
    `remark`: what surprises those who know another network, in one line.
    """

    name: str
    summary: str
    attachment: Attachment
    transport: Transport
    masquerade: tuple[str, ...] = ()
    strict: bool = True
    source_check: bool = True
    vni: int = 1
    remark: str = ""


DEFAULT = "tunnel"
"""The network that most clusters have: pods on links of their own, so that everything they send
passes their node's rules, and an overlay between the nodes, as Calico's and Cilium's defaults.
"""

# flannel, pkg/trafficmngr/iptables (v0.20 and later), without the rule for packets that
# kube-proxy has marked already
_FLANNEL = (
    "-s {own} -d {pods} -j RETURN",
    "-s {pods} -d {own} -j RETURN",
    "! -s {pods} -d {own} -j RETURN",
    "-s {pods} ! -d {pods} -j MASQUERADE --random-fully",
    "! -s {pods} -d {pods} -j MASQUERADE --random-fully",
)

_DECLARED = (
    NetworkModel(
        name="routed",
        summary="a router that knows all pods; nothing is masqueraded or checked",
        attachment=Attachment.VETH,
        transport=Transport.ROUTER,
        strict=False,
        source_check=False,
    ),
    NetworkModel(
        name="vpc",
        summary="pods on a bridge; the VPC routes each node's pod subnet to it",
        attachment=Attachment.BRIDGE,
        transport=Transport.ROUTER,
        masquerade=("-s {own} -d {private} -j RETURN", "-s {own} -j MASQUERADE"),
        remark="vpc: pods of one node meet on its bridge, past the proxy (no bridge netfilter)",
    ),
    NetworkModel(
        name="tunnel",
        summary="pods on links of their own; VXLAN between the nodes",
        attachment=Attachment.VETH,
        transport=Transport.VXLAN,
        masquerade=("-s {own} ! -d {pods} -j MASQUERADE",),
    ),
    NetworkModel(
        name="flannel-vxlan",
        summary="Flannel with its VXLAN backend and its masquerade rules",
        attachment=Attachment.FILTERED_BRIDGE,
        transport=Transport.VXLAN,
        masquerade=_FLANNEL,
    ),
    NetworkModel(
        name="flannel-host-gw",
        summary="Flannel with its host-gw backend: nodes are neighbours and route to each other",
        attachment=Attachment.FILTERED_BRIDGE,
        transport=Transport.HOSTS,
        masquerade=_FLANNEL,
        source_check=False,
    ),
    NetworkModel(
        name="eni",
        summary="pods have ports of the VPC (Cloud Native Network 2.0, Terway ENI)",
        attachment=Attachment.UNDERLAY,
        transport=Transport.UNDERLAY,
        # Only packets to Services pass the node; and the VPC drops packets of a node's port that
        # have a pod's address as their source.
        masquerade=("-s {own} -j MASQUERADE",),
        remark="eni: pods meet on ports of the VPC, past their nodes and the proxy",
    ),
    NetworkModel(
        name="eni-shared",
        summary="pods have VPC addresses on a second interface of their node (Terway ENIIP)",
        attachment=Attachment.VETH,
        transport=Transport.UNDERLAY,
    ),
)
MODELS = {model.name: model for model in _DECLARED}
