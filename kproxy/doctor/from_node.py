"""Facts about this machine as a node: its kernel and, with a kubeconfig, the objects."""

from __future__ import annotations

import os
import socket

from msgspec.structs import replace

from kproxy.api.addresses import canonical_ip
from kproxy.backend import load
from kproxy.doctor.facts import Facts
from kproxy.doctor.finding import Missing, Part
from kproxy.doctor.from_kernel import KernelReader
from kproxy.doctor.from_objects import from_api_server
from kproxy.kernel.addresses import all_addresses
from kproxy.store import Store

_ROOT = "this takes root"


def from_node(kubeconfig: str = "") -> Facts:
    """Return the facts about this machine. Raises BadInput if the kubeconfig cannot be read."""
    if kubeconfig:
        facts = from_api_server(kubeconfig)
    else:
        why = "no --kubeconfig was given"
        parts = (
            Part.OBJECTS,
            Part.PODS,
            Part.ENDPOINTS,
            Part.NODES,
            Part.WHOLE_CLUSTER,
            Part.API_SERVER,
        )
        facts = Facts(store=Store(), missing=tuple(Missing(part, why) for part in parts))
    reader = KernelReader()
    host = reader.node(_name(facts))
    missing = [*facts.missing, *reader.missing]
    missing.append(Missing(Part.PLANS, "the proxy's options are not known"))
    for part in (Part.LINKS_OF_PODS, Part.RESOLVERS):
        missing.append(Missing(part, "the namespaces of pods are looked into only in a lab"))
    missing.append(Missing(Part.LISTENERS, "sockets of pods are looked at only in a lab"))
    missing.append(Missing(Part.NAMES, "questions are sent only within a lab"))
    if os.geteuid():
        parts_of_root = (Part.RULES, Part.PROXIES)
        missing = [each for each in missing if each.part not in parts_of_root]
        missing += [Missing(part, _ROOT) for part in parts_of_root]
        host = replace(host, tables=None, base_chains=None, in_force=None)
    modes = [load(each) for each in {each.mode for each in host.in_force or ()}]
    return replace(
        facts,
        hosts=(host,),
        forwards_itself=bool(modes) and all(each.forwards_itself for each in modes),
        falls_back=any(each.falls_back for each in modes) if modes else None,
        missing=tuple(missing),
    )


def _name(facts: Facts) -> str:
    """Return the name of this machine's Node: its host name or, if no Node has that, the name of
    one that tells an address of this machine.
    """
    name = socket.gethostname().strip().lower()
    if facts.store.node(name) is None:
        own = all_addresses()
        for node in facts.cluster_nodes:
            if any(canonical_ip(each.address) in own for each in node.status.addresses):
                return node.metadata.name
    return name
