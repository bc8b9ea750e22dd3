"""ipsets: the `ipset` program reads what kproxy writes over netlink, and the reverse."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from kproxy_ipvs.names import SETS, shape_of

from kproxy.address import Family, family_of
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel import ipset
from kproxy.kernel.ipset_attributes import Shape
from kproxy.kernel.netns import Namespace
from kproxy.testing.node import unprivileged
from netns_tests import ipset_program

IPV4, IPV6 = Family.IPV4, Family.IPV6
HASH = {"hashsize": 1024, "maxelem": 65536}
PORTS = Shape("bitmap:port", None, {"from": 0, "to": 65535})
LINE = {  # the creation of a set as kube-proxy has it, for the program
    "hash:ip": "hash:ip family {inet} hashsize 1024 maxelem 65536",
    "hash:ip,port": "hash:ip,port family {inet} hashsize 1024 maxelem 65536",
    "hash:ip,port,ip": "hash:ip,port,ip family {inet} hashsize 1024 maxelem 65536",
    "hash:ip,port,net": "hash:ip,port,net family {inet} hashsize 1024 maxelem 65536",
    "bitmap:port": "bitmap:port range 0-65535",
}
INET = {IPV4: "inet", IPV6: "inet6"}


@pytest.fixture(autouse=True)
def _own_namespace() -> Iterator[None]:
    with Namespace.create() as namespace, namespace.entered():
        yield


@pytest.fixture(params=["this kernel", pytest.param("with ipvs", marks=pytest.mark.ipvs)])
def _both_kernels() -> None:
    """Have the test run on the machine's own kernel, and on the one that has IPVS."""


@pytest.mark.usefixtures("_both_kernels")
@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("kind", LINE)
def test_a_set_is_created_as_by_the_program(kind: str, family: Family) -> None:
    suffix = next(suffix for suffix, each in SETS.items() if each.type == kind)
    ipset.create([("OURS", shape_of(family, suffix))])
    ipset_program.restore([f"create ITS {LINE[kind].format(inet=INET[family])}"])
    created = ipset_program.save()
    ours, its = (re.sub("initval .*", "", created[name].creation) for name in ("OURS", "ITS"))
    assert ours == its
    ipset.swap("OURS", "ITS")  # they are of one type and family for the kernel, too


def test_all_types_of_kube_proxy_are_compared() -> None:
    assert LINE.keys() == {kind.type for kind in SETS.values()}


ENTRIES = [  # type, family, entries as ipset prints them
    ("hash:ip", IPV4, ["10.0.0.1", "255.255.255.254"]),
    ("hash:ip", IPV6, ["fd00::1", "2001:db8::ffff:0:1"]),
    (
        *("hash:ip,port", IPV4),
        ["10.0.0.1,tcp:80", "10.0.0.1,udp:80", "10.0.0.1,sctp:80", "10.0.0.1,tcp:65535"],
    ),
    ("hash:ip,port", IPV6, ["fd00::1,tcp:80", "fd00::1,udp:1", "fd00::1,sctp:9"]),
    ("hash:ip,port,ip", IPV4, ["10.0.0.1,tcp:80,10.0.0.1", "10.0.0.1,udp:80,192.168.0.1"]),
    ("hash:ip,port,ip", IPV6, ["fd00::1,tcp:80,fd00::1", "fd00::1,sctp:8,fd00::2"]),
    (
        *("hash:ip,port,net", IPV4),
        ["10.0.0.1,tcp:80,10.0.0.0/8", "10.0.0.1,tcp:80,128.0.0.0/1", "10.0.0.1,udp:80,10.0.0.7"],
    ),
    (
        *("hash:ip,port,net", IPV6),
        ["fd00::1,tcp:80,fd00::/64", "fd00::1,sctp:80,2001:db8::/127", "fd00::1,udp:80,fd00::7"],
    ),
    ("bitmap:port", IPV4, ["30080", "0", "65535"]),
]


@pytest.mark.parametrize(("kind", "family", "entries"), ENTRIES)
def test_entries(kind: str, family: Family, entries: list[str]) -> None:
    shape = PORTS if kind == "bitmap:port" else Shape(kind, family, HASH)
    ipset.create([("KUBE-A", shape)])
    changes = [("KUBE-A", entry) for entry in entries]
    ipset.edit(changes, [])
    assert ipset_program.save()["KUBE-A"].entries == set(entries)
    saved = ipset.save()["KUBE-A"]
    assert saved.entries == set(entries)
    assert saved.shape[:2] == shape[:2]
    assert saved.shape.parameters.items() >= shape.parameters.items()
    assert ipset.sizes() == {"KUBE-A": len(entries)}
    ipset.edit(changes[1:], changes[:1])  # those exist already
    assert ipset_program.save()["KUBE-A"].entries == set(entries[1:])
    ipset.edit([], changes)  # one of them is removed already
    assert ipset.sizes() == {"KUBE-A": 0}


def random_entry(chance: random.Random, kind: str, family: Family) -> str:
    """Return an entry for `ipset add`; addresses are often much alike."""
    bits = 32 if family is IPV4 else 128

    def number() -> int:
        return chance.getrandbits(bits) >> chance.choice([0, 0, 8, bits // 2])

    def address() -> str:
        value = max(number(), 1)
        return str(IPv4Address(value) if family is IPV4 else IPv6Address(value))

    port = str(chance.choice([chance.randrange(65536), chance.randrange(1000)]))
    if kind == "bitmap:port":
        return port
    parts: Mapping[str, Callable[[], str]] = {
        "ip": address,
        "net": lambda: f"{address()}/{chance.randint(1, bits)}",
        "port": lambda: f"{chance.choice(['tcp', 'udp', 'sctp'])}:{port}",
    }
    return ",".join(parts[each]() for each in kind.removeprefix("hash:").split(","))


@pytest.mark.usefixtures("_both_kernels")
@pytest.mark.parametrize("family", Family)
def test_random_entries(family: Family) -> None:
    chance = random.Random(16)
    entries = {kind: [random_entry(chance, kind, family) for _ in range(700)] for kind in LINE}
    ipset_program.restore(
        [f"create {kind} {LINE[kind].format(inet=INET[family])}" for kind in LINE]
        + [f"add {kind} {entry}" for kind, each in entries.items() for entry in each]
    )
    saved = {kind: each.entries for kind, each in ipset.save().items()}
    assert saved == {kind: each.entries for kind, each in ipset_program.save().items()}
    assert {kind: len(each) for kind, each in saved.items()} == ipset.sizes()
    assert min(map(len, saved.values())) > 300
    half = [(k, entry) for k, each in saved.items() for entry in each if chance.random() < 0.5]
    ipset.edit([], half)
    left = {kind: each - {e for k, e in half if k == kind} for kind, each in saved.items()}
    assert left == {kind: each.entries for kind, each in ipset_program.save().items()}
    ipset.edit(half, [])
    assert saved == {kind: each.entries for kind, each in ipset_program.save().items()}


@pytest.mark.parametrize("first", [ip_address("10.0.0.0"), ip_address("fd00::1:0:0")], ids=str)
def test_large_sets(first: IPv4Address | IPv6Address) -> None:
    """Each comes in many messages, and another set follows."""
    family = family_of(str(first))
    wanted = {
        "hash:ip,port": {f"{first + number},tcp:80" for number in range(50_000)},
        "bitmap:port": {str(number) for number in range(50_000)},
        "hash:ip": {str(first)},
    }
    for kind, entries in wanted.items():
        ipset.create([(kind, PORTS if kind == "bitmap:port" else Shape(kind, family, HASH))])
        ipset.edit(((kind, entry) for entry in entries), [])
    assert {kind: set(each.entries) for kind, each in ipset.save().items()} == wanted
    assert ipset.sizes() == {kind: len(each) for kind, each in wanted.items()}


def test_many_sets_and_entries() -> None:
    names = [f"KUBE-{number}" for number in range(40)]
    ipset.create((name, Shape("hash:ip,port", IPV4, HASH)) for name in names)
    entries = {
        (name, f"10.{number >> 8}.{number & 255}.1,tcp:80")
        for name in names[:3]
        for number in range(2000)
    }
    ipset.edit(entries, [])
    assert ipset.sizes() == {name: 2000 if name in names[:3] else 0 for name in names}
    saved = ipset.save()
    assert {(name, text) for name in names for text in saved[name].entries} == entries


def test_a_namespace_without_sets() -> None:
    assert ipset.sizes() == {}
    assert ipset.save() == {}
    ipset.create([])


def test_sets_are_created_once_and_destroyed() -> None:
    sets = [("KUBE-A", Shape("hash:ip", IPV4, HASH)), ("KUBE-B", PORTS)]
    ipset.create(sets)
    ipset.edit([("KUBE-A", "10.0.0.1")], [])
    ipset.create(sets)
    assert ipset.sizes() == {"KUBE-A": 1, "KUBE-B": 0}
    for _ in range(2):
        assert ipset.destroy(["KUBE-A", "KUBE-B"]) == {}
        assert ipset.sizes() == {}


UNLIKE = [  # a set that is there, the one to be created
    ("hash:ip,port", Shape("hash:ip", IPV4, HASH)),
    ("bitmap:port range 0-65535", Shape("hash:ip", IPV4, HASH)),
    ("hash:ip maxelem 10", Shape("hash:ip", IPV4, HASH)),
    ("hash:ip timeout 10", Shape("hash:ip", IPV4, HASH)),
    ("bitmap:port range 0-1", PORTS),
]


@pytest.mark.parametrize(("there", "shape"), UNLIKE)
def test_a_set_that_exists_otherwise_is_an_error(there: str, shape: Shape) -> None:
    ipset_program.restore([f"create KUBE-A {there}"])
    before = ipset_program.save()["KUBE-A"]
    with pytest.raises(KernelRefused, match=r"^create ipset KUBE-A: File exists$"):
        ipset.create([("KUBE-A", shape), ("KUBE-B", shape)])
    assert ipset_program.save()["KUBE-A"] == before
    assert ipset.sizes() == {"KUBE-A": 0, "KUBE-B": 0}


def test_another_hashsize_or_family_is_no_error() -> None:
    ipset_program.restore(["create KUBE-A hash:ip family inet6 hashsize 64"])
    ipset.create([("KUBE-A", Shape("hash:ip", IPV4, HASH))])
    assert ipset.save()["KUBE-A"].shape.family is IPV6


def test_a_type_that_there_is_not() -> None:
    shapes = [("KUBE-A", Shape("hash:ip", IPV4, HASH)), ("KUBE-B", Shape("hash:x", IPV4, HASH))]
    with pytest.raises(KernelRefused, match=r"^find ipset type hash:x: this kernel has no such"):
        ipset.create(shapes)
    assert ipset.sizes() == {}


def test_options_of_entries_do_not_belong_to_them() -> None:
    ipset_program.restore(
        [
            "create other hash:ip comment timeout 600",
            'add other 10.0.0.1 comment "a b"',
            "create nets hash:ip,port,net counters",
            "add nets 10.0.0.1,tcp:80,10.0.0.0/8 nomatch packets 1",
        ]
    )
    saved = ipset.save()
    assert saved["other"].entries == {"10.0.0.1"}
    assert saved["nets"].entries == {"10.0.0.1,tcp:80,10.0.0.0/8"}


def test_other_protocols_are_numbers() -> None:
    ipset_program.restore(
        ["create A hash:ip,port", "add A 10.0.0.1,udplite:80", "add A 10.0.0.1,icmp:8/0"]
    )
    assert ipset.save()["A"].entries == {"10.0.0.1,136:80", "10.0.0.1,1:2048"}
    ipset.edit([("A", "10.0.0.1,47:0")], [("A", "10.0.0.1,136:80")])
    assert ipset_program.save()["A"].entries == {"10.0.0.1,icmp:echo-request", "10.0.0.1,gre:0"}


def test_sets_of_sets_and_of_other_programs() -> None:
    """Entries of types that no service proxy has are not told."""
    ipset_program.restore(
        [
            "create INNER hash:net",
            "add INNER 10.0.0.0/8",
            "create MACS bitmap:ip,mac range 10.0.0.0-10.0.0.255",
            "add MACS 10.0.0.1,02:00:00:00:00:01",
            "create LINKS hash:net,iface",
            "add LINKS 10.0.0.0/8,eth0",
            "create ADDRESSES bitmap:ip range 10.0.0.0-10.0.0.255",
            "add ADDRESSES 10.0.0.1",
            "create OUTER list:set",
            "add OUTER MACS",
            "add OUTER INNER",
        ]
    )
    saved = ipset.save()
    assert {name: (each.shape.type, set(each.entries)) for name, each in saved.items()} == {
        "INNER": ("hash:net", set()),
        "MACS": ("bitmap:ip,mac", set()),
        "LINKS": ("hash:net,iface", set()),
        "ADDRESSES": ("bitmap:ip", set()),
        "OUTER": ("list:set", {"MACS", "INNER"}),
    }


SHAPES = [  # creation, what is read of it besides hashsize, bucketsize and initval
    ("hash:ip", Shape("hash:ip", IPV4, {"maxelem": 65536})),
    ("hash:ip netmask 24", Shape("hash:ip", IPV4, {"maxelem": 65536, "netmask": 24})),
    (
        "hash:ip,port family inet6 maxelem 7 timeout 0",
        Shape("hash:ip,port", IPV6, {"maxelem": 7, "timeout": 0}),
    ),
    (
        "hash:ip,port counters comment skbinfo forceadd",
        Shape(
            *("hash:ip,port", IPV4),
            {"maxelem": 65536, "counters": 1, "comment": 1, "skbinfo": 1, "forceadd": 1},
        ),
    ),
    ("bitmap:port range 30000-32767", Shape("bitmap:port", None, {"from": 30000, "to": 32767})),
    (
        "bitmap:port range 0-65535 timeout 60 counters",
        Shape("bitmap:port", None, {"from": 0, "to": 65535, "timeout": 60, "counters": 1}),
    ),
    ("list:set size 9", Shape("list:set", None, {"size": 9})),
]


@pytest.mark.parametrize(("creation", "shape"), SHAPES)
def test_shapes(creation: str, shape: Shape) -> None:
    ipset_program.restore([f"create A {creation}"])
    found = ipset.save()["A"].shape
    varying = ("hashsize", "bucketsize", "initval")
    parameters = {each: v for each, v in found.parameters.items() if each not in varying}
    assert found._replace(parameters=parameters) == shape


def test_parameters_that_are_not_known_are_not_lost() -> None:
    ipset_program.restore(["create A bitmap:ip range 10.0.0.0-10.0.0.255"])
    assert ipset.save()["A"].shape.parameters.keys() == {"attribute 1", "attribute 2"}


def test_refusals() -> None:
    shape = Shape("hash:ip,port,net", IPV4, {"hashsize": 64, "maxelem": 2})
    ipset.create([("KUBE-A", shape)])
    with pytest.raises(KernelRefused) as refused:
        ipset.edit(
            [
                ("KUBE-A", "10.0.0.1,tcp:80,0.0.0.0/0"),
                ("KUBE-B", "10.0.0.1"),
                ("KUBE-A", "10.0.0.1,tcp:80,10.0.0.0/8"),
                ("KUBE-A", "fd00::1,tcp:80,fd00::/64"),
            ],
            [],
        )
    assert str(refused.value).splitlines() == [
        "ipset add KUBE-A 10.0.0.1,tcp:80,0.0.0.0/0: the length of the network is not valid here",
        "ipset add KUBE-B 10.0.0.1: No such file or directory",
        "ipset add KUBE-A fd00::1,tcp:80,fd00::/64: the set has entries of another kind",
    ]
    assert ipset.save()["KUBE-A"].entries == {"10.0.0.1,tcp:80,10.0.0.0/8"}
    with pytest.raises(KernelRefused, match="the set is full"):
        ipset.edit([("KUBE-A", f"10.0.0.1,tcp:{port},10.0.0.0/8") for port in range(10)], [])


def test_support() -> None:
    ipset.require(LINE, IPV4)
    with pytest.raises(Unsupported, match=r"has no ipsets for IPv6$") as lacking:
        ipset.require([*LINE, "hash:x"], IPV6)
    assert "user-mode Linux" in lacking.value.remedy
    assert ipset.sizes() == {}
    with unprivileged(), pytest.raises(Unsupported, match="not permitted") as forbidden:
        ipset.require(LINE, IPV4)
    assert "CAP_NET_ADMIN" in forbidden.value.remedy
