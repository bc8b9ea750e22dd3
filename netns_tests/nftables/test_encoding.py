"""kproxy sends the same to the kernel as the program nft for the same rules."""

from __future__ import annotations

import random
import re
from ipaddress import ip_network

import pytest
from kproxy_nftables import words
from kproxy_nftables.names import TABLE

from kproxy.address import Family
from kproxy.api.types import KubernetesObject
from kproxy.kernel.netns import Namespace
from kproxy.kernel.nftables.objects import Rule, Table
from kproxy.kernel.nftables.session import Session
from kproxy.kernel.process import run
from kproxy.testing.random_cluster import RandomCluster
from netns_tests.modes import NFTABLES, Mode
from netns_tests.nftables.kernel_view import table_of
from netns_tests.node import bench

# Several ranges that were merged into one are a set; a single one in the source is none.
SET_OF_ONE = re.compile(r"(?<=addr != )\{ (\S+) \}")
WORD = {Family.IPV4: "ip", Family.IPV6: "ip6"}


def objects(seed: int) -> list[KubernetesObject]:
    cluster = RandomCluster(seed)
    for _ in range(60):
        cluster.edit()
    return list(cluster.objects.values())


@pytest.mark.parametrize("mode", NFTABLES, ids=str)
@pytest.mark.parametrize("family", Family, ids=lambda family: family.value)
@pytest.mark.parametrize("seed", [21, 22])
def test_whole_tables_are_encoded_as_nft_does(mode: Mode, family: Family, seed: int) -> None:
    with bench(mode) as node, Session() as session:
        node.sync(objects(seed))
        listing = run(["nft", "list", "table", WORD[family], TABLE])
        ours = table_of(session, family, TABLE)
    with Namespace.create() as namespace, namespace.entered(), Session() as session:
        run(["nft", "-f", "-"], SET_OF_ONE.sub(r"{ \1 , \1 }", listing))
        theirs = table_of(session, family, TABLE)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name] == theirs[name], name


def cidrs(seed: int, family: Family) -> list[str]:
    """Generate one to eight CIDRs; many overlap, touch, or are equal."""
    chance = random.Random(seed)
    bits, base = (32, 10 << 24) if family is Family.IPV4 else (128, 0xFD00 << 112)
    found = []
    for _ in range(chance.randint(1, 8)):
        prefix = chance.choice(
            [1, 8, 9, 12, 16, 23, 24, 28, 31, 32] + [64, 100, 128] * (bits == 128)
        )
        address = base | chance.randrange(8) << (bits - prefix) | chance.randrange(4)
        found.append(str(ip_network((address % (1 << bits), prefix), strict=False)))
    return found


@pytest.mark.parametrize("family", Family, ids=lambda family: family.value)
def test_ranges_are_merged_as_nft_does(family: Family) -> None:
    """Merging happens in the sets of rules; a single CIDR is no set."""
    ip = WORD[family]
    lists = [cidrs(seed, family) for seed in range(150)]
    with Namespace.create() as namespace, namespace.entered(), Session() as session:
        table = Table(family, "ours")
        requests = [table.create(), table.add_chain("c")]
        for each in lists:
            rule = Rule((*words.saddr_outside(family, each), words.drop()))
            requests += table.add_rule("c", rule)
            rule = Rule((*words.daddr_within(family, each), words.drop()))
            requests += table.add_rule("c", rule)
        session.commit(requests)
        text = [f"add table {ip} theirs\nadd chain {ip} theirs c\n"]
        for each in lists:
            ranges = " , ".join(each)
            text.append(f"add rule {ip} theirs c {ip} saddr != {{ {ranges} }} drop\n")
            text.append(f"add rule {ip} theirs c {ip} daddr {{ {ranges} }} drop\n")
        run(["nft", "-f", "-"], text)
        ours = table_of(session, family, "ours")["rules c"]
        theirs = table_of(session, family, "theirs")["rules c"]
    assert isinstance(ours, tuple)
    assert isinstance(theirs, tuple)
    for each, one, other in zip([x for x in lists for _ in "ab"], ours, theirs, strict=True):
        assert one == other, each
