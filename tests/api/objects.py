"""Manifests as plain values, valid as they are, and edits to make them invalid."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from kproxy.api import Decoded, decode_texts
from kproxy.api.conflicts import object_name
from kproxy.api.typed_kinds import KINDS

Manifest = dict[str, Any]
ABSENT = object()

SERVICE: Manifest = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "type": "LoadBalancer",
        "clusterIP": "10.96.0.10",
        "clusterIPs": ["10.96.0.10", "fd00::a"],
        "ipFamilies": ["IPv4", "IPv6"],
        "externalIPs": ["203.0.113.1"],
        "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 30500,
        "loadBalancerSourceRanges": ["198.51.100.0/24"],
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
        "ports": [
            {"name": "http", "port": 80, "targetPort": "web", "nodePort": 30080},
            {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 5353, "nodePort": 30080},
        ],
    },
    "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example"}]}},
}
SLICE: Manifest = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "addressType": "IPv4",
    "metadata": {
        "name": "web-abc.x",
        "namespace": "shop",
        "labels": {"kubernetes.io/service-name": "web"},
    },
    "ports": [{"name": "http", "port": 8080}, {"name": "dns", "protocol": "UDP", "port": 5353}],
    "endpoints": [
        {
            "addresses": ["10.244.0.5"],
            "conditions": {"ready": True},
            "nodeName": "node-0.example",
            "zone": "Zone_a",
            "hints": {"forZones": [{"name": "Zone_a"}], "forNodes": [{"name": "node-0.example"}]},
        }
    ],
}
ENDPOINTS: Manifest = {
    "apiVersion": "v1",
    "kind": "Endpoints",
    "metadata": {"name": "web", "namespace": "shop"},
    "subsets": [
        {
            "addresses": [{"ip": "10.244.0.5", "nodeName": "node-0"}],
            "notReadyAddresses": [{"ip": "fd00::5"}],
            "ports": [{"name": "http", "port": 8080}],
        }
    ],
}
SERVICE_CIDR: Manifest = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "ServiceCIDR",
    "metadata": {"name": "kubernetes.default"},
    "spec": {"cidrs": ["10.96.0.0/12", "fd00:10:96::/112"]},
}
IP_ADDRESS: Manifest = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "IPAddress",
    "metadata": {"name": "10.96.0.50"},
    "spec": {
        "parentRef": {
            "group": "gateway.networking.k8s.io",
            "resource": "gateways",
            "namespace": "shop",
            "name": "edge",
        }
    },
}
INGRESS: Manifest = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "Ingress",
    "metadata": {"name": "shop.example", "namespace": "shop"},
    "spec": {
        "ingressClassName": "nginx",
        "defaultBackend": {"service": {"name": "web", "port": {"number": 80}}},
        "rules": [
            {
                "host": "shop.example.com",
                "http": {
                    "paths": [
                        {
                            "path": "/cart",
                            "pathType": "Prefix",
                            "backend": {"service": {"name": "web", "port": {"name": "http"}}},
                        }
                    ]
                },
            },
            {"host": "*.example.com"},
        ],
    },
}
NODE: Manifest = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node-0.example", "labels": {"topology.kubernetes.io/zone": "Zone_a"}},
    "spec": {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24", "fd00:1::/64"]},
    "status": {
        "addresses": [
            {"type": "InternalIP", "address": "192.168.0.1"},
            {"type": "Hostname", "address": "Whatever It Is"},
        ],
        "capacity": {"cpu": 4, "memory": "8Gi"},
    },
}
POD: Manifest = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "pod.a", "namespace": "shop"},
    "spec": {
        "nodeName": "node-0",
        "containers": [
            {"name": "main", "image": "web:1", "ports": [{"name": "web", "containerPort": 8080}]}
        ],
    },
    "status": {"podIP": "10.244.0.5", "podIPs": [{"ip": "10.244.0.5"}, {"ip": "fd00::5"}]},
}
DEPLOYMENT: Manifest = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web.x", "namespace": "shop", "labels": {"app": "web"}},
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"},
        },
        "template": {
            "metadata": {"labels": {"app": "web", "tier": "front"}},
            "spec": {
                "nodeSelector": {"disk": "ssd"},
                "terminationGracePeriodSeconds": 10,
                "containers": [
                    {
                        "name": "main",
                        "image": "web:1",
                        "ports": [
                            {"name": "web", "containerPort": 8080},
                            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                        ],
                        "readinessProbe": {"httpGet": {"path": "/ready", "port": "web"}},
                        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                    }
                ],
            },
        },
    },
}
ALL = (SERVICE, SLICE, ENDPOINTS, SERVICE_CIDR, IP_ADDRESS, INGRESS, DEPLOYMENT, NODE, POD)


def stored(text: str | bytes, where: str) -> Decoded:
    """Return the objects of a text as kube-proxy reads them, of all kinds."""
    return decode_texts({where: text}, KINDS)


_LINE = re.compile(r"f\.json:(\d+)")


def edited(manifest: Manifest, path: str, value: object) -> Manifest:
    """Return a copy with another value at a path such as `spec.ports[0].port` (or ABSENT)."""
    result = copy.deepcopy(manifest)
    steps: list[Any] = [
        int(index) if index else name or key
        for name, index, key in re.findall(r"(\w+)(?![^\[]*\])|\[(\d+)\]|\[([^\]]+)\]", path)
    ]
    place: Any = result
    for step in steps[:-1]:
        place = place[step] if isinstance(step, int) else place.setdefault(step, {})
    if value is ABSENT:
        del place[steps[-1]]
    else:
        place[steps[-1]] = value
    return result


def problems_of(*manifests: Manifest) -> list[str]:
    """Return the problems, with their place as `items[i]` if there are several manifests."""
    lines = ",\n".join(json.dumps(each) for each in manifests)
    text = f'{{"apiVersion": "v1", "kind": "List", "items": [\n{lines}\n]}}'
    if len(manifests) == 1:
        found = stored(lines, "f.json").problems
        return [problem.removeprefix(f"f.json:1: {subject(manifests[0])}") for problem in found]
    return [_by_item(problem, manifests) for problem in stored(text, "f.json").problems]


def _by_item(problem: str, manifests: tuple[Manifest, ...]) -> str:
    """Return a problem with its line, and others it names, as `items[i]`, and no subject."""
    place, _, rest = problem.partition(": ")
    item = int(place.removeprefix("f.json:")) - 2
    told = f"{place}: {rest.removeprefix(subject(manifests[item]))}"
    return _LINE.sub(lambda match: f"items[{int(match[1]) - 2}]", told)


def subject(manifest: Manifest) -> str:
    """Return how messages about an object begin, after the place."""
    kind, metadata = manifest.get("kind"), manifest.get("metadata")
    if not isinstance(kind, str) or not kind:
        return ""
    metadata = metadata if isinstance(metadata, dict) else {}
    name, namespace = (
        each if isinstance(each := metadata.get(key), str) else "" for key in ("name", "namespace")
    )
    return f"{object_name(kind, namespace, name)}: "
