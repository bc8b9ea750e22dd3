"""Notices that a proxy's own Node is no longer what it was at the start. Pure.

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
    """Compares a Node with what it was at the start: `node`, None if it was not known."""

    def __init__(self, node: Node | None, version: Version) -> None:
        self._ends = version.has(EXITS_WITH_ITS_NODE)
        self._last = node
        self._ips = host_ips(node)

    def check(self, node: Node | None) -> None:
        """Log, or raise NodeChanged in versions that end then, if the Node is gone or has other
        addresses than at the start. Order counts, too. Nothing is said of a Node that never was.
        """
        last, self._last = self._last, node
        if node == last:
            return
        if node is None:
            self._report("its Node object was deleted")
        elif host_ips(node) != self._ips:
            former, fresh = (
                ", ".join(map(str, ips)) or "none" for ips in (self._ips, host_ips(node))
            )
            self._report(f"the addresses of node {node.metadata.name} changed: {former} -> {fresh}")

    def _report(self, what: str) -> None:
        if self._ends:
            raise NodeChanged(what, remedy=_REMEDY)
        log.info("%s", what)
