"""The facts that a lab's Nodes tell of themselves, as kubelets would."""

from __future__ import annotations

import os
import platform

from kproxy.controlplane.plane import Json
from kproxy.lab.objects import ARCHITECTURE

PODS = "110"  # the kubelet's default
_GIBIBYTE = 1 << 30
_PRESSURES = (  # type, reason, message
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)


def with_facts(document: Json, now: str, *, version: str) -> Json:
    """Return a Node's document with its system, capacity and conditions.

    `version` is the Kubernetes version to show, such as `v1.36.0`.
    """
    status = document.get("status") or {}
    cpu = str((status.get("allocatable") or {}).get("cpu") or os.cpu_count() or 1)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _GIBIBYTE
    resources = {"cpu": cpu, "memory": f"{max(memory, 1)}Gi", "pods": PODS}
    times = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    pressures = [
        {"type": kind, "status": "False", "reason": reason, "message": message, **times}
        for kind, reason, message in _PRESSURES
    ]
    ready = {"reason": "KubeletReady", "message": "kubelet is posting ready status", **times}
    conditions = [
        {**ready, **each} if each["type"] == "Ready" else each
        for each in status.get("conditions") or ()
    ]
    addresses = status.get("addresses") or []
    name = document["metadata"]["name"]
    if not any(each["type"] == "Hostname" for each in addresses):
        addresses = [*addresses, {"type": "Hostname", "address": name}]
    return {
        **document,
        "status": {
            **status,
            "capacity": resources,
            "allocatable": resources,
            "addresses": addresses,
            "conditions": [*pressures, *conditions],
            "nodeInfo": {
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
                "kernelVersion": platform.release(),
                "osImage": "kproxy lab",
                "containerRuntimeVersion": "kproxy://namespaces",
                "kubeletVersion": version,
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": ARCHITECTURE,
            },
        },
    }
