"""The host name of a pod, and its /etc/hosts."""

from __future__ import annotations

import pytest

from kproxy.address import Family
from kproxy.kernel.netns import Namespace
from kproxy.lab.hosts import LabPod
from kproxy.lab.pods.process import hostname, hosts_file
from kproxy.lab.spec import PodSpec

NAMES = [  # the lab's name, Kubernetes namespace, host network -> host name
    ("web-1", "default", False, "web-1"),
    ("web-1.prod", "prod", False, "web-1"),
    ("web-1.prod", "prod", True, "node-a"),
    ("alone", "prod", False, "alone"),
    (f"{'a' * 62}-b.prod", "prod", False, "a" * 62),
    (f"{'a' * 80}", "default", False, "a" * 63),
]


@pytest.mark.parametrize(("name", "namespace", "host_network", "expected"), NAMES)
def test_names(name: str, namespace: str, host_network: bool, expected: str) -> None:
    with Namespace.current() as here:
        pod = LabPod(
            name=name,
            namespace=here,
            addresses={Family.IPV4: "10.244.1.11", Family.IPV6: "fd00:10:244:1::11"},
            spec=PodSpec(name=name, namespace=namespace, host_network=host_network),
            node="node-a",
            zone="",
        )
    assert hostname(pod) == expected
    assert hosts_file(pod) == (
        "# Kubernetes-managed hosts file.\n"
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::0\tip6-localnet\n"
        "fe00::0\tip6-mcastprefix\n"
        "fe00::1\tip6-allnodes\n"
        "fe00::2\tip6-allrouters\n"
        f"10.244.1.11\t{expected}\n"
        f"fd00:10:244:1::11\t{expected}\n"
    )
