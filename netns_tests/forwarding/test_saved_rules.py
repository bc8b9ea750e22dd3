"""Rules that the usual tools have saved can be loaded again, with the longest names too."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kproxy.api.types import KubernetesObject, Protocol, ServicePort
from kproxy.kernel.netns import Namespace
from kproxy.kernel.nfacct import ensure_counter
from kproxy.kernel.process import run
from kproxy.lab import service
from netns_tests.modes import MODES, Mode
from netns_tests.node import bench, random_cluster

LONGEST = 63  # characters of the name of a namespace, of a Service and of its port
IPTABLES = ("iptables", "ip6tables")


def nowhere() -> list[KubernetesObject]:
    """Return Services without endpoints: refused everywhere, or only for some clients."""
    protocols: Sequence[Protocol] = ("TCP", "UDP", "SCTP")
    return [
        service(
            f"{number}{'s' * (length - 1)}",
            namespace="n" * length,
            cluster_ips=[f"10.96.3.{number}", f"fd00:10:96::3:{number}"],
            ports=[
                ServicePort(
                    name=f"{protocol.lower()}{'p' * (length - len(protocol))}",
                    protocol=protocol,
                    port=80,
                    node_port=30900 + number,
                )
                for protocol in protocols
            ],
            type="LoadBalancer",
            external_ips=(f"203.0.113.{number}", f"2001:db8:203::{number}"),
            load_balancer_ips=[f"203.0.113.{100 + number}", f"2001:db8:203::{100 + number}"],
            load_balancer_source_ranges=("198.51.100.0/24", "2001:db8::/32"),
            external_traffic_policy="Local" if number % 2 else "Cluster",
        )
        for number, length in enumerate((42, 43, 44, LONGEST, LONGEST), 1)
    ]


def saved(mode: Mode) -> dict[str, str]:
    """Return what is saved, by the command that loads it."""
    if mode.name == "nftables":
        return {"nft -f -": run(["nft", "list", "ruleset"])}
    tables = {
        f"{command}-{mode.variant}-restore": run([f"{command}-{mode.variant}-save"])
        for command in IPTABLES
    }
    if mode.name != "ipvs":
        return tables
    return {"ipset restore": run(["ipset", "save"])} | tables


def without_counters(text: str) -> list[str]:
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return sorted(line.split(" [")[0] if line.startswith(":") else line for line in lines)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_what_was_saved_can_be_loaded(mode: Mode) -> None:
    with bench(mode) as node:
        node.sync([*random_cluster().objects.values(), *nowhere()])
        texts = saved(mode)
    with Namespace.create() as namespace, namespace.entered():
        if mode.name != "nftables":
            for name in ("ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts"):
                ensure_counter(name)
        for command, text in texts.items():
            run(command.split(), text)
        again = saved(mode)
    for command, text in texts.items():
        assert without_counters(again[command]) == without_counters(text)


def test_the_longest_name_is_cut() -> None:
    nft = next(mode for mode in MODES if isinstance(mode, Mode) and mode.name == "nftables")
    with bench(nft) as node:
        node.sync(nowhere()[-1:])
        listing = run(["nft", "list", "map", "ip", "kube-proxy", "no-endpoint-services"])
    whole = f"{'n' * LONGEST}/5{'s' * (LONGEST - 1)}:tcp"
    assert f'comment "{whole[:128]}"' in listing
