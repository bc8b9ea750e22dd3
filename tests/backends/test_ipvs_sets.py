"""Sets of our names that others have made: which of them can be used as they are."""

from __future__ import annotations

import pytest
from kproxy_ipvs.names import SETS, all_names
from kproxy_ipvs.sets import suits

from kproxy.address import Family

TAIL = "bucketsize 12 initval 0x02241da2"
USABLE = [
    ("CLUSTER-IP", f"hash:ip,port family inet hashsize 1024 maxelem 65536 {TAIL}"),
    ("CLUSTER-IP", "hash:ip,port family inet hashsize 1024 maxelem 65536"),  # ipset 6
    ("CLUSTER-IP", f"hash:ip,port family inet hashsize 64 maxelem 200000 {TAIL}"),
    ("CLUSTER-IP", f"hash:ip,port family inet hashsize 1024 maxelem 65536 counters {TAIL}"),
    ("IPVS-IPS", f"hash:ip family inet hashsize 1024 maxelem 65536 comment skbinfo {TAIL}"),
    ("NODE-PORT-TCP", "bitmap:port range 0-65535"),
    ("NODE-PORT-TCP", "bitmap:port range 0-65535 counters"),
]
UNUSABLE = [
    ("CLUSTER-IP", f"hash:ip family inet hashsize 1024 maxelem 65536 {TAIL}"),
    ("CLUSTER-IP", f"hash:ip,port,ip family inet hashsize 1024 maxelem 65536 {TAIL}"),
    ("CLUSTER-IP", f"hash:ip,port family inet6 hashsize 1024 maxelem 65536 {TAIL}"),
    ("CLUSTER-IP", f"hash:ip,port family inet hashsize 1024 maxelem 65535 {TAIL}"),
    ("CLUSTER-IP", f"hash:ip,port family inet hashsize 1024 maxelem 65536 timeout 0 {TAIL}"),
    ("CLUSTER-IP", f"hash:ip,port family inet hashsize 1024 maxelem 65536 {TAIL} forceadd"),
    ("CLUSTER-IP", f"hash:ip,port family inet hashsize 1024 maxelem 65536 forceadd {TAIL}"),
    ("IPVS-IPS", f"hash:ip family inet hashsize 1024 maxelem 65536 netmask 24 {TAIL}"),
    ("CLUSTER-IP", "list:set size 8"),
    ("NODE-PORT-TCP", "bitmap:port range 30000-32767"),
    ("NODE-PORT-TCP", "bitmap:port range 0-65535 timeout 60"),
    ("NODE-PORT-TCP", "bitmap:ip range 10.0.0.0-10.0.0.255"),
]


@pytest.mark.parametrize(
    ("suffix", "type_", "usable"),
    [*((*each, True) for each in USABLE), *((*each, False) for each in UNUSABLE)],
)
def test_which_sets_can_be_used_as_they_are(suffix: str, type_: str, usable: bool) -> None:
    assert suits(Family.IPV4, suffix, type_) is usable


def test_the_other_family_needs_the_other_family() -> None:
    type_ = f"hash:ip,port family inet6 hashsize 1024 maxelem 65536 {TAIL}"
    assert suits(Family.IPV6, "CLUSTER-IP", type_)
    assert not suits(Family.IPV6, "CLUSTER-IP", type_.replace("inet6", "inet"))


def test_no_two_sets_have_the_same_name_and_ipset_takes_all_of_them() -> None:
    names = [name for family in Family for name in all_names(family)]
    assert len({*names}) == len(names) == 4 * len(SETS)
    assert max(map(len, names)) <= 31
