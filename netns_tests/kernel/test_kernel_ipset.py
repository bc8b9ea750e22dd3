"""ipsets: `ipset save` prints the edits made over netlink."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kproxy.errors import KernelRefused
from kproxy.kernel import ipset
from kproxy.kernel.netns import Namespace

HASH = "hashsize 1024 maxelem 65536"


@pytest.fixture(autouse=True)
def _own_namespace() -> Iterator[None]:
    with Namespace.create() as namespace, namespace.entered():
        yield


SETS = [  # type, entries as ipset prints them
    (f"hash:ip family inet {HASH}", ["10.0.0.1", "255.255.255.254"]),
    (f"hash:ip family inet6 {HASH}", ["fd00::1", "2001:db8::ffff:0:1"]),
    (
        f"hash:ip,port family inet {HASH}",
        ["10.0.0.1,tcp:80", "10.0.0.1,udp:80", "10.0.0.1,sctp:80", "10.0.0.1,tcp:65535"],
    ),
    (f"hash:ip,port family inet6 {HASH}", ["fd00::1,tcp:80", "fd00::1,udp:1", "fd00::1,sctp:9"]),
    (
        f"hash:ip,port,ip family inet {HASH}",
        ["10.0.0.1,tcp:80,10.0.0.1", "10.0.0.1,udp:80,192.168.0.1"],
    ),
    (f"hash:ip,port,ip family inet6 {HASH}", ["fd00::1,tcp:80,fd00::1", "fd00::1,sctp:8,fd00::2"]),
    (
        f"hash:ip,port,net family inet {HASH}",
        ["10.0.0.1,tcp:80,10.0.0.0/8", "10.0.0.1,tcp:80,128.0.0.0/1", "10.0.0.1,udp:80,10.0.0.7"],
    ),
    (
        f"hash:ip,port,net family inet6 {HASH}",
        ["fd00::1,tcp:80,fd00::/64", "fd00::1,sctp:80,2001:db8::/127", "fd00::1,udp:80,fd00::7"],
    ),
    ("bitmap:port range 0-65535", ["30080", "0", "65535"]),
]


@pytest.mark.parametrize(("kind", "entries"), SETS, ids=[kind for kind, _ in SETS])
def test_entries(kind: str, entries: list[str]) -> None:
    ipset.restore([f"create KUBE-A {kind}"])
    changes = [("KUBE-A", entry) for entry in entries]
    ipset.edit(changes, [])
    assert ipset.save()["KUBE-A"].entries == set(entries)
    assert ipset.save()["KUBE-A"].type.startswith(kind)
    assert ipset.sizes() == {"KUBE-A": len(entries)}
    ipset.edit(changes[1:], changes[:1])  # those exist already
    assert ipset.save()["KUBE-A"].entries == set(entries[1:])
    ipset.edit([], changes)  # one of them is removed already
    assert ipset.sizes() == {"KUBE-A": 0}


def test_many_sets_and_entries() -> None:
    names = [f"KUBE-{number}" for number in range(40)]
    ipset.restore(f"create {name} hash:ip,port family inet {HASH}" for name in names)
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


def test_sets_are_created_once_and_destroyed() -> None:
    lines = [f"create KUBE-A hash:ip family inet {HASH}", "create KUBE-B bitmap:port range 0-65535"]
    ipset.restore(lines)
    ipset.edit([("KUBE-A", "10.0.0.1")], [])
    ipset.restore(lines)
    assert ipset.sizes() == {"KUBE-A": 1, "KUBE-B": 0}
    for _ in range(2):
        ipset.restore(["destroy KUBE-A", "destroy KUBE-B"])
        assert ipset.sizes() == {}


def test_options_of_entries_do_not_belong_to_them() -> None:
    ipset.restore(["create other hash:ip comment timeout 600", 'add other 10.0.0.1 comment "a b"'])
    assert ipset.save()["other"].entries == {"10.0.0.1"}


def test_refusals() -> None:
    ipset.restore(["create KUBE-A hash:ip,port,net family inet hashsize 64 maxelem 2"])
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


def test_a_bad_line() -> None:
    with pytest.raises(KernelRefused, match="Error in line 2: "):
        ipset.restore([f"create KUBE-A hash:ip {HASH}", "create KUBE-B hash:x"])
    assert ipset.sizes() == {"KUBE-A": 0}


def test_version() -> None:
    assert ipset.version() >= (6, 0)
