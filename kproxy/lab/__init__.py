"""A cluster of network namespaces: nodes, pods, outside clients, a router between them.

    LabSpec (or its YAML file) -> Layout: addresses -> topology: namespaces, cables, routes
                                                    -> pod server, a proxy on each node
    objects -> Lab.apply -> PlainObjects or ControlPlane -> Update -> Followers: every node's store,
                            then ingress pods, load balancers, DNS     -> every node's kernel

Nouns: `LabSpec` and its parts describe the lab; a `Lab` is up inside its `with` block; its hosts
(`LabNode`, `LabPod`, `LabClient`) have a name, a namespace and addresses.
`kproxy.lab.objects` makes Services and EndpointSlices over a lab's pods. Nothing outlives the
process but published names, which the next lab removes.
"""

from kproxy.lab.examples import example
from kproxy.lab.hosts import LabClient, LabHost, LabNode, LabPod
from kproxy.lab.lab import Lab
from kproxy.lab.objects import service, slices_for
from kproxy.lab.spec import ClientSpec, LabSpec, NodeSpec, PodSpec, PortSpec
from kproxy.lab.spec_file import load_spec, parse_spec

__all__ = [
    "ClientSpec",
    "Lab",
    "LabClient",
    "LabHost",
    "LabNode",
    "LabPod",
    "LabSpec",
    "NodeSpec",
    "PodSpec",
    "PortSpec",
    "example",
    "load_spec",
    "parse_spec",
    "service",
    "slices_for",
]
