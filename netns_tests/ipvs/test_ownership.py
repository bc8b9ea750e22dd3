"""The backend takes over, repairs and removes its own objects, and nothing else."""

from __future__ import annotations

from itertools import chain

import pytest
from kproxy_ipvs import IpvsOptions
from kproxy_ipvs.names import DEVICE, SETS, set_name

from kproxy.address import Family
from kproxy.config.types import IpvsSection
from kproxy.errors import KernelRefused
from kproxy.kernel import addresses
from kproxy.kernel.ipvs import Ipvs, VirtualServer
from kproxy.kernel.links import Links
from kproxy.kernel.process import run
from kproxy.kernel.xtables import Xtables
from kproxy.proxy.setup import cleanup
from kproxy.testing.node import CONFIG
from netns_tests import ipset_program
from netns_tests.modes import Mode
from netns_tests.node import Bench, bench, filled

pytestmark = pytest.mark.ipvs

IPVS, IPTABLES = Mode("ipvs", "legacy"), Mode("iptables", "legacy")
EXCLUDED = IpvsSection(exclude_cidrs=("172.16.0.0/16",))
TYPES = {kind.type for kind in SETS.values()}
FOREIGN_RULES = """\
*filter
:MY-CHAIN - [0:0]
-A MY-CHAIN -m set --match-set MINE src -j DROP
-A INPUT -j MY-CHAIN
COMMIT
"""


def add_foreign_things() -> None:
    ipset_program.restore(["create MINE hash:ip", "add MINE 192.0.2.1"])
    Xtables(Family.IPV4, "legacy").restore([FOREIGN_RULES])
    for address in ("172.16.0.1:80", "10.9.9.9:80"):
        run(["ipvsadm", "-A", "-t", address, "-s", "lc"])
    run(["ipvsadm", "-a", "-t", "172.16.0.1:80", "-r", "172.16.0.2:80", "-m"])


def servers(family: Family = Family.IPV4) -> set[VirtualServer]:
    with Ipvs() as ipvs:
        return set(ipvs.virtual_servers(family))


def test_cleanup_removes_every_trace_and_nothing_else() -> None:
    with bench(IPVS) as node:
        node = Bench(IPVS, EXCLUDED)
        for family in Family:  # so that all tables exist
            node.tables(family).save("nat"), node.tables(family).save("filter")
        add_foreign_things()
        run(["ipvsadm", "-D", "-t", "10.9.9.9:80"])
        before = node.state()
        filled(node)
        assert node.state() != before
        for backend in node.backends.values():
            backend.cleanup()
        assert node.state() == before
        assert not addresses.addresses_of(DEVICE, Family.IPV4)
        with pytest.raises(KernelRefused):
            run(["ip", "link", "show", DEVICE])


def test_cleanup_of_one_family_spares_the_other() -> None:
    with bench(IPVS) as node:
        filled(node)
        bound = addresses.addresses_of(DEVICE, Family.IPV6)
        wanted = servers(Family.IPV6)
        node.backends[Family.IPV4].cleanup()
        assert (servers(), addresses.addresses_of(DEVICE, Family.IPV4)) == (set(), set())
        assert servers(Family.IPV6) == wanted
        assert addresses.addresses_of(DEVICE, Family.IPV6) == bound
        assert node.proxy.damaged() == (Family.IPV4,)


def test_cleanup_copes_with_what_both_iptables_modes_left() -> None:
    """The families share names of chains, and a rule of one may lead to a chain of the other."""
    with bench(IPTABLES) as node:
        filled(node)
        filled(Bench(IPVS))
        assert cleanup(CONFIG, IpvsOptions(iptables_variant="legacy")) == []
        for family in Family:
            for table in ("nat", "filter"):
                saved = node.tables(family).save(table)
                assert not [name for name in saved if name.startswith("KUBE-")]
                assert not any(saved.values())


def test_all_virtual_servers_count_as_ours_but_excluded_ones() -> None:
    with bench(IPVS):
        add_foreign_things()
        filled(Bench(IPVS, EXCLUDED))
        kept = {server.address for server in servers()} & {"172.16.0.1", "10.9.9.9"}
        assert kept == {"172.16.0.1"}
        filled(Bench(IPVS))
        assert "172.16.0.1" not in {server.address for server in servers()}


DAMAGE = [  # commands of another program
    "ipvsadm -C",
    "ipvsadm -D -t {server}",
    f"ip link delete {DEVICE}",
    f"ip -4 address flush dev {DEVICE}",
    f"ipset flush {set_name(Family.IPV4, 'CLUSTER-IP')}",
    "iptables-legacy -t nat -F",
    "iptables-legacy -t nat -F KUBE-POSTROUTING",
    "iptables-legacy -t filter -D INPUT 1",
    "iptables-legacy -t filter -D KUBE-IPVS-FILTER 2",
]


def test_damage_is_noticed_and_repaired() -> None:
    """Damage one after the other on one node: each repair restores the state of a fresh start."""
    with bench(IPVS) as node:
        filled(node)
        fresh = node.state()
        server = min(s for s in servers() if s.protocol == "TCP")
        assert node.proxy.damaged() == ()
        for harm in DAMAGE:
            run(harm.format(server=f"{server.address}:{server.port}").split())
            assert Family.IPV4 in node.proxy.damaged(), harm
            node.sync()
            assert node.proxy.damaged() == (), harm
            assert node.state() == fresh, harm


def test_the_periodic_full_sync_repairs_the_rest() -> None:
    """Real servers are not looked at every second."""
    with bench(IPVS) as node:
        filled(node)
        fresh = node.state()
        with Ipvs() as ipvs:
            server = next(s for s in ipvs.virtual_servers(Family.IPV4) if ipvs.real_servers(s))
            batch_of = [f"{r.address}:{r.port}" for r in ipvs.real_servers(server)]
        letter = {"TCP": "-t", "UDP": "-u", "SCTP": "--sctp-service"}[server.protocol]
        address = f"{server.address}:{server.port}"
        run(["ipvsadm", "-d", letter, address, "-r", batch_of[0]])
        run(["ipvsadm", "-E", letter, address, "-s", "sed"])
        node.proxy.sync(full=True)
        assert node.state() == fresh


def test_objects_of_other_programs_are_no_damage() -> None:
    with bench(IPVS) as node:
        filled(node)
        add_foreign_things()
        assert node.proxy.damaged() == ()


def test_what_is_read_is_what_the_tools_print() -> None:
    with bench(IPVS) as node:
        filled(node)
        added = [line.split()[1:] for line in run(["ipset", "save"]).splitlines()]
        lines = run(["ipvsadm", "--save", "--numeric"]).splitlines()
        for family in Family:
            read = node.backends[family].read()
            assert read["ipset"].keys() == {set_name(family, suffix) for suffix in SETS}
            for name, entries in read["ipset"].items():
                assert set(entries) == {words[1] for words in added if words[0] == name} - TYPES
            wide = family is Family.IPV6
            assert {*read["ipvs"], *chain.from_iterable(read["ipvs"].values())} == {
                line.rstrip() for line in lines if ("[" in line) is wide
            }
            assert set(read["addresses"][DEVICE]) == addresses.addresses_of(DEVICE, family)
            for table in ("nat", "filter"):
                saved = node.tables(family).save(table)
                for name, rules in read[table].items():
                    assert list(rules) == [" ".join(rule.split()) for rule in saved[name]]
                assert {name for name in saved if name.startswith("KUBE-")} <= read[table].keys()


def test_node_ports_follow_the_addresses_of_the_node() -> None:
    with bench(IPVS) as node, Links() as links:
        filled(node)
        links.add_address("eth0", "192.168.10.77/32")
        links.flush()
        assert node.proxy.damaged() == (Family.IPV4,)
        node.sync()
        ports = {s.port for s in servers() if s.address == "192.168.10.10"}
        assert ports
        assert {s.port for s in servers() if s.address == "192.168.10.77"} == ports
