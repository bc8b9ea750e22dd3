"""Objects of our names that have another shape, or that others hold on to."""

from __future__ import annotations

import logging
import re

import pytest
from kproxy_ipvs.names import DEVICE, set_name, spare_name

from kproxy.address import Family
from kproxy.api.types import KubernetesObject
from kproxy.backend import held
from kproxy.errors import KernelRefused
from kproxy.kernel import ipset
from kproxy.kernel.process import run
from kproxy.kernel.xtables import Xtables
from kproxy.proxy import NodeProxy
from kproxy.proxy.leftovers import Leftovers
from kproxy.testing.node import CONFIG
from netns_tests import ipset_program
from netns_tests.modes import Mode
from netns_tests.node import Bench, bench, fresh_state
from tests.proxy.objects import endpoints, service

pytestmark = pytest.mark.ipvs

IPVS, IPTABLES = Mode("ipvs", "legacy"), Mode("iptables", "legacy")
OBJECTS: list[KubernetesObject] = [service("web", "10.96.0.1"), endpoints("web", "10.244.0.5")]
MORE = [*OBJECTS, service("more", "10.96.0.2"), endpoints("more", "10.244.0.6")]
CLUSTER_IP, SPARE = set_name(Family.IPV4, "CLUSTER-IP"), spare_name(Family.IPV4, "CLUSTER-IP")
OTHER_SHAPES = [
    f"create {CLUSTER_IP} hash:ip",
    f"create {CLUSTER_IP} hash:ip,port,ip",
    f"create {CLUSTER_IP} hash:ip,port maxelem 100",
    f"create {CLUSTER_IP} hash:ip,port timeout 5",
    f"create {CLUSTER_IP} hash:ip,port family inet6",
    f"create {CLUSTER_IP} list:set",
    "create KUBE-6-CLUSTER-IP hash:ip,port family inet",
    "create KUBE-IPVS-IPS hash:ip netmask 24",
    "create KUBE-NODE-PORT-TCP bitmap:port range 30000-32767",
    "create KUBE-LOAD-BALANCER-SOURCE-CIDR hash:ip,port,net family inet6",
]
USABLE = [
    f"create {CLUSTER_IP} hash:ip,port maxelem 200000",
    f"create {CLUSTER_IP} hash:ip,port counters comment",
]
USE = "-m set --match-set {name} dst{more} -j RETURN"


def use(chain: str, more: str = "", family: Family = Family.IPV4) -> None:
    rule = USE.format(name=CLUSTER_IP, more=more)
    Xtables(family, "legacy").restore([f"*nat\n:{chain} - [0:0]\n-A {chain} {rule}\nCOMMIT\n"])


def stop_using(chain: str, family: Family = Family.IPV4) -> None:
    Xtables(family, "legacy").restore([f"*nat\n-F {chain}\n-X {chain}\nCOMMIT\n"])


@pytest.mark.parametrize("creation", OTHER_SHAPES)
def test_a_set_of_another_shape_is_made_anew(creation: str) -> None:
    with bench(IPVS) as node:
        ipset_program.restore([creation])
        node.sync(MORE)
        assert node.state() == fresh_state(IPVS, MORE)


@pytest.mark.parametrize("creation", USABLE)
def test_a_set_that_serves_as_well_is_used_as_it_is(creation: str) -> None:
    with bench(IPVS) as node:
        ipset_program.restore([creation, f"add {CLUSTER_IP} 192.0.2.1,tcp:1"])
        before = ipset_program.save()[CLUSTER_IP].creation
        node.sync(OBJECTS)
        after = ipset_program.save()[CLUSTER_IP]
        assert (after.creation, set(after.entries)) == (before, {"10.96.0.1,tcp:80"})
        assert node.proxy.damaged() == ()


@pytest.mark.parametrize("creation", OTHER_SHAPES[:4])
def test_so_is_one_that_rules_of_a_predecessor_use(creation: str) -> None:
    with bench(IPVS) as node:
        ipset_program.restore([creation])
        use("KUBE-SERVICES")
        node.sync(OBJECTS)
        assert node.state() == fresh_state(IPVS, OBJECTS)


def test_a_set_with_other_parameters_changes_in_the_rules_of_others_too() -> None:
    with bench(IPVS) as node:
        ipset_program.restore([f"create {CLUSTER_IP} hash:ip,port maxelem 1 timeout 9"])
        use("MINE", more=",dst")
        node.sync(MORE)
        assert "timeout" not in ipset_program.save()[CLUSTER_IP].creation
        assert USE.format(name=CLUSTER_IP, more=",dst") in node.tables().save("nat")["MINE"]
        stop_using("MINE")
        assert node.state() == fresh_state(IPVS, MORE)


@pytest.mark.parametrize(
    ("creation", "family", "command"),
    [
        (OTHER_SHAPES[0], Family.IPV4, "iptables-legacy"),
        (OTHER_SHAPES[4], Family.IPV6, "ip6tables-legacy"),
    ],
)
def test_another_one_serves_while_rules_of_others_use_it(
    creation: str,
    family: Family,
    command: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(held, "RETRY_S", 0.0)
    with bench(IPVS) as node, caplog.at_level(logging.WARNING, "kproxy"):
        ipset_program.restore([creation])
        use("MINE", family=family)
        node.sync(OBJECTS)
        node.sync(MORE)
        assert ipset.save()[SPARE].entries == {"10.96.0.1,tcp:80", "10.96.0.2,tcp:80"}
        rules = node.tables().save_all()
        assert f"--match-set {SPARE} dst,dst" in str(rules["nat"]["KUBE-SERVICES"])
        assert f"--match-set {SPARE} dst,dst" in str(rules["filter"]["KUBE-IPVS-FILTER"])
        assert f"--match-set {CLUSTER_IP} " not in str(rules["filter"])
        assert node.proxy.damaged() == ()
        (said,) = [record.getMessage() for record in caplog.records]
        assert f"IPv4: ipset {CLUSTER_IP} cannot be removed yet" in said
        assert f": {command} -t nat -D MINE {USE.format(name=CLUSTER_IP, more='')}" in said
        Bench(IPVS).sync(MORE)  # a successor finds both
        assert ipset.save()[SPARE].entries == {"10.96.0.1,tcp:80", "10.96.0.2,tcp:80"}
        stop_using("MINE", family)
        while node.proxy.again_at < float("inf"):
            node.proxy.sync()
        assert node.state() == fresh_state(IPVS, MORE)


def test_virtual_servers_of_another_shape_are_changed() -> None:
    with bench(IPVS) as node:
        for arguments in (
            "-A -t 10.96.0.1:80 -s rr -p 300 -M 255.255.255.0",
            "-a -t 10.96.0.1:80 -r 10.244.0.5:8080 -g",
            "-A -t 10.96.0.2:80 -s wlc",
            "-a -t 10.96.0.2:80 -r 10.244.0.6:8080 -m -x 5 -y 2",
        ):
            run(["ipvsadm", *arguments.split()])
        node.sync(MORE)
        assert node.state() == fresh_state(IPVS, MORE)
        listed = run(["ipvsadm", "-Ln", "--thresholds"]).splitlines()
        (real,) = [line.split() for line in listed if "10.244.0.6" in line]
        assert real[2:4] == ["0", "0"]


def test_addresses_of_the_device_with_another_prefix_are_replaced() -> None:
    with bench(IPVS) as node:
        run(["ip", "link", "add", DEVICE, "type", "dummy"])
        for address in ("10.96.0.1/24", "10.96.0.9/16", "fd00::9/64"):
            run(["ip", "address", "add", address, "dev", DEVICE])
        node.sync(MORE)
        listed = run(["ip", "-oneline", "address", "show", "dev", DEVICE])
        assert sorted(re.findall(r"inet6? (\S+)", listed)) == ["10.96.0.1/32", "10.96.0.2/32"]
        run(["ip", "address", "add", "10.96.0.9/16", "dev", DEVICE])
        for backend in node.backends.values():
            backend.cleanup()
        assert DEVICE not in run(["ip", "link"])


def test_cleanup_removes_all_but_what_others_use_and_names_that() -> None:
    with bench(IPVS) as node:
        node.sync(OBJECTS)
        use("MINE", more=",dst")
        ipset_program.restore(["create OUTER list:set", "add OUTER KUBE-6-IPVS-IPS"])
        with pytest.raises(KernelRefused) as failure:
            node.backends[Family.IPV4].cleanup()
        assert f"ipset {CLUSTER_IP} was emptied but not destroyed: a rule of MINE uses it" in str(
            failure.value
        )
        with pytest.raises(KernelRefused, match=r"KUBE-6-IPVS-IPS .* the set OUTER contains it"):
            node.backends[Family.IPV6].cleanup()
        assert ipset.sizes().keys() == {CLUSTER_IP, "KUBE-6-IPVS-IPS", "OUTER"}
        assert not ipset.save()[CLUSTER_IP].entries
        stop_using("MINE")
        node.backends[Family.IPV4].cleanup()
        assert CLUSTER_IP not in ipset.sizes()


def test_another_mode_removes_all_but_what_others_use_and_names_that() -> None:
    with bench(IPVS) as node:
        node.sync(OBJECTS)
        use("MINE", more=",dst")
        successor = Bench(IPTABLES)
        successor.store.replace(OBJECTS)
        proxy = NodeProxy(successor.store, CONFIG, successor.backends)
        proxy.sync()
        leftovers = Leftovers(proxy, successor.backends, CONFIG, IPTABLES.options)
        with pytest.raises(KernelRefused, match=r"CLUSTER-IP was emptied .* MINE uses it"):
            leftovers.remove()
        assert ipset.sizes() == {CLUSTER_IP: 0}
        stop_using("MINE")
        assert leftovers.remove() == 0
        assert not ipset.sizes()


def test_a_chain_of_a_switch_that_others_lead_to_holds_up_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with bench(IPVS) as node, caplog.at_level(logging.WARNING, "kproxy"):
        node.tables().restore(
            ["*nat\n:KUBE-IPVS-SOURCES - [0:0]\n-A OUTPUT -j KUBE-IPVS-SOURCES\nCOMMIT\n"]
        )
        node.sync(OBJECTS)
        node.sync(MORE)
        (said,) = [record.getMessage() for record in caplog.records]
        assert "KUBE-IPVS-SOURCES cannot be removed yet: OUTPUT leads to it" in said
        run(["iptables-legacy", "-t", "nat", "-D", "OUTPUT", "-j", "KUBE-IPVS-SOURCES"])
        node.proxy.sync(full=True)
        assert node.state() == fresh_state(IPVS, MORE)
