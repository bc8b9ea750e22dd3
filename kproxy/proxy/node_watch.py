"""Notices that a proxy's own Node is no longer what it was at the start. Pure.

Pod CIDRs count in mode NodeCIDR, where they decide which pods are local. Other ones end the process
in every version; other addresses, and the end of the Node, do so since 1.37.
Source: kube-proxy v1.36 pkg/proxy/node.go; #138183
"""

from __future__ import annotations

import logging

from kproxy.api.types import Node
from kproxy.config.node import host_ips
from kproxy.errors import NodeChanged
from kproxy.versions import EXITS_WITH_ITS_NODE, Version

log = logging.getLogger("kproxy")

_REMEDY = "let the service manager start it again, as with kube-proxy; the rules are in force"


class NodeWatch:
    """Compares a Node with what it was at the start: `node`, None if it was not known.

    `pod_cidrs_count`: this node's pods are recognised by the pod CIDRs of its Node.
    """

    def __init__(
        self, node: Node | None, version: Version, *, pod_cidrs_count: bool = False
    ) -> None:
        self._ends = version.has(EXITS_WITH_ITS_NODE)
        self._last = node
        self._ips = host_ips(node)
        self._pod_cidrs = node.spec.pod_cidrs if node and pod_cidrs_count else None

    def check(self, node: Node | None) -> None:
        """Log, or raise NodeChanged in versions that end then, if the Node is gone or has other
        addresses or pod CIDRs than at the start. Order counts, too. Nothing is said of a Node that
        never was.
        """
        last, self._last = self._last, node
        if node == last:
            return
        if node is None:
            self._report("its Node object was deleted")
            return
        name = node.metadata.name
        if self._pod_cidrs is not None and node.spec.pod_cidrs != self._pod_cidrs:
            former, fresh = (", ".join(each) for each in (self._pod_cidrs, node.spec.pod_cidrs))
            raise NodeChanged(
                f"the pod CIDRs of node {name} changed: {former or 'none'} -> {fresh or 'none'}",
                remedy=_REMEDY,
            )
        if host_ips(node) != self._ips:
            former, fresh = (
                ", ".join(map(str, ips)) or "none" for ips in (self._ips, host_ips(node))
            )
            self._report(f"the addresses of node {name} changed: {former} -> {fresh}")

    def _report(self, what: str) -> None:
        if self._ends:
            raise NodeChanged(what, remedy=_REMEDY)
        log.info("%s", what)
