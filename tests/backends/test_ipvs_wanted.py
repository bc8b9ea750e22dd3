"""The objects that services need in ipvs mode are those of the recordings; pure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from kproxy_ipvs.desired import Desired
from kproxy_ipvs.names import SETS, set_name, shape_of
from kproxy_ipvs.reading import real_server_line, server_line
from kproxy_ipvs.wanted import Entry, Place, Server, place_of, wanted
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.manifests import load
from kproxy.backend import ModeConfigs
from kproxy.config import ProxyConfig, node_name, node_settings
from kproxy.config.file import read_file
from kproxy.forwarding.plan import NodeSettings, Plan
from kproxy.forwarding.planner import Planner
from kproxy.kernel.ipvs import VirtualServer
from kproxy.store import Store
from kproxy.testing.random_cluster import RandomCluster

CASES = sorted(
    path.parent
    for path in Path(__file__).parents[2].glob("netns_tests/conformance/cases/*/kube-proxy.ipvs")
)
NODE_ADDRESSES = {  # addresses of the recorded node; see kproxy/testing/node.py
    Family.IPV4: ("10.244.0.1", "192.168.10.10"),
    Family.IPV6: ("fd00:192::10",),
}


def planned(case: Path, config: ProxyConfig) -> dict[Family, Plan]:
    store = Store()
    store.replace(load([case / "objects.yaml"], stored=True).objects)
    plans = {}
    for family, settings in node_settings(config, store.node(node_name(config))).items():
        planner = Planner(settings)
        planner.replan(store)
        plans[family] = planner.plan
    return plans


def all_wanted(plan: Plan, scheduler: str) -> tuple[Desired, Place]:
    place = place_of(plan.settings, NODE_ADDRESSES[plan.family], scheduler)
    desired = Desired()
    for service in plan.services.values():
        desired.change(service.name, None, wanted(service, place))
    desired.take_changes()
    return desired, place


def ipvsadm(desired: Desired) -> Iterable[str]:
    for key in desired.servers():
        server = desired.server(key)
        assert server
        yield server_line(key, server.settings)
        for real in server.real:
            yield real_server_line(key, real, 1)


def creation(family: Family, suffix: str) -> str:
    """Return what a recording says of a set: it leaves out the sizes of hashes."""
    kind, family_of_set, parameters = shape_of(family, suffix)
    line = f"create {set_name(family, suffix)} {kind}"
    if family_of_set is None:
        return f"{line} range {parameters['from']}-{parameters['to']}"
    return f"{line} family {'inet' if family_of_set is Family.IPV4 else 'inet6'}"


def section(recording: str, name: str) -> list[str]:
    text = f"{recording}\n## ".partition(f"## {name}\n")[2]
    return text.partition("## ")[0].split("\n")[:-1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_servers_sets_and_addresses_are_those_of_kube_proxy(case: Path) -> None:
    config = read_file(str(case / "config.yaml"), ModeConfigs()).config
    config = replace(config, hostname_override=config.hostname_override or "node-0", mode="ipvs")
    recording = (case / "kube-proxy.ipvs").read_text()
    servers: list[str] = []
    sets: list[str] = []
    addresses: list[str] = []
    for family, plan in planned(case, config).items():
        desired, _ = all_wanted(plan, config.ipvs.scheduler or "rr")
        servers += ipvsadm(desired)
        sets += [creation(family, suffix) for suffix in SETS]
        sets += [f"add {set_name(family, e.set)} {e.text}" for e in desired.entries.all()]
        length = 32 if family is Family.IPV4 else 128
        addresses += [f"{address}/{length}" for address in desired.addresses.all()]
    assert sorted(servers) == sorted(section(recording, "ipvs"))
    assert sorted(sets) == sorted(section(recording, "ipset"))
    assert sorted(addresses) == sorted(section(recording, "kube-ipvs0"))


@pytest.mark.parametrize("seed", range(20))
def test_changes_add_up_to_the_whole(seed: int) -> None:
    """Any history of changes ends like a fresh start, and reports exactly the differences."""
    cluster = RandomCluster(seed)
    store = Store()
    settings = NodeSettings(family=Family.IPV4, node_name="node-0", node_ip="192.168.10.10")
    planner = Planner(settings)
    place = place_of(settings, NODE_ADDRESSES[Family.IPV4], "rr")
    desired = Desired()
    entries: set[Entry] = set()
    servers: dict[VirtualServer, Server] = {}
    for _ in range(60):
        for _ in range(3):
            key, obj = cluster.edit()
            if obj is None:
                store.delete(key)
            else:
                store.upsert(obj)
        delta = planner.update(store, store.take_changes().services)
        for name, former in delta.before.items():
            fresh = planner.plan.services.get(name)
            desired.change(
                name,
                wanted(former, place) if former else None,
                wanted(fresh, place) if fresh else None,
            )
        changes = desired.take_changes()
        assert not entries & set(changes.entries.added)
        entries = (entries | set(changes.entries.added)) - set(changes.entries.removed)
        for change in changes.servers:
            assert servers.pop(change.key, None) == change.before
            if change.after:
                servers[change.key] = change.after
    whole, _ = all_wanted(planner.plan, "rr")
    assert entries == whole.entries.all() == desired.entries.all()
    assert servers == {key: whole.server(key) for key in whole.servers()}
    assert desired.addresses.all() == whole.addresses.all()
    assert desired.firewall.all() == whole.firewall.all()
    assert desired.filled == whole.filled
