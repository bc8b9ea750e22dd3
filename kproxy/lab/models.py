"""Network models: how pods are attached, how nodes reach each other's pods, what is masqueraded.

A model is one declaration in `MODELS`. What each word of it means in links, routes and rules is
built by `kproxy.lab.topology`. Rules are those of iptables, with these names in braces:

    {own}      the pod subnet of the node          {pods}   all pods of the cluster
    {private}  each private range of the family, one rule for each (RFC 1918; fd00::/8)
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Attachment(enum.Enum):
    """How a pod hangs on its node."""

    VETH = "veth"
    """A point-to-point link of its own: all it sends passes the node's netfilter."""

    BRIDGE = "bridge"
    """A bridge (`cni0`) without bridge netfilter: pods of a node reach each other behind the back
    of the node's netfilter, also with answers that it would have had to translate back."""

    FILTERED_BRIDGE = "filtered-bridge"
    """A bridge with `bridge-nf-call-iptables=1` and hairpin ports, as the bridge plugin of CNI."""

    UNDERLAY = "underlay"
    """Its own port of the VPC, past the node. A second link leads to the node, for the service
    CIDRs and the node's own addresses alone."""


class Transport(enum.Enum):
    """How a packet to a pod of another node gets there."""

    ROUTER = "router"
    """The VPC router knows which node has which pod subnet."""

    VXLAN = "vxlan"
    """Encapsulated between the nodes (RFC 7348); the VPC knows nothing of pods."""

    HOSTS = "hosts"
    """Nodes are neighbours on one segment, and each has routes to the others' pods."""

    UNDERLAY = "underlay"
    """Pod addresses are VPC addresses: the router finds each pod at a port of the VPC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkModel:
    """One network of a cluster.

    `masquerade`: rules for packets that leave the node, in this order, before kube-proxy's.
    `strict`: nodes drop what comes in by a link that the way back would not use (rp_filter 1).
    `source_check`: the VPC drops what a port sends from addresses that are not the port's
    (source/destination check, anti-spoofing). `vni`: of VXLAN devices.
    """

    name: str
    summary: str
    attachment: Attachment
    transport: Transport
    masquerade: tuple[str, ...] = ()
    strict: bool = True
    source_check: bool = True
    vni: int = 1


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
        # Of what pods send, only what is for Services passes the node; and the VPC takes nothing
        # from a node's port that comes from a pod.
        masquerade=("-s {own} -j MASQUERADE",),
    ),
    NetworkModel(
        name="eni-shared",
        summary="pods have VPC addresses on a second interface of their node (Terway ENIIP)",
        attachment=Attachment.VETH,
        transport=Transport.UNDERLAY,
    ),
)
MODELS = {model.name: model for model in _DECLARED}
