"""Sets of our names that others have made: which of them can be used as they are."""

from __future__ import annotations

import pytest
from kproxy_ipvs.names import SETS, all_names, shape_of
from kproxy_ipvs.sets import suits

from kproxy.address import Family
from kproxy.kernel.ipset_attributes import Shape

IPV4, IPV6 = Family.IPV4, Family.IPV6
OLD = {"hashsize": 1024, "maxelem": 65536}  # ipset 6
HASH = {**OLD, "bucketsize": 12, "initval": 0x02241DA2}
PORTS = {"from": 0, "to": 65535}
USABLE = [
    ("CLUSTER-IP", Shape("hash:ip,port", IPV4, HASH)),
    ("CLUSTER-IP", Shape("hash:ip,port", IPV4, OLD)),
    ("CLUSTER-IP", Shape("hash:ip,port", IPV4, HASH | {"hashsize": 64, "maxelem": 200000})),
    ("CLUSTER-IP", Shape("hash:ip,port", IPV4, HASH | {"counters": 1})),
    ("IPVS-IPS", Shape("hash:ip", IPV4, HASH | {"comment": 1, "skbinfo": 1})),
    ("NODE-PORT-TCP", Shape("bitmap:port", None, PORTS)),
    ("NODE-PORT-TCP", Shape("bitmap:port", None, PORTS | {"counters": 1})),
    ("NODE-PORT-TCP", Shape("bitmap:port", IPV6, PORTS)),  # the kernel lets it be given one
]
UNUSABLE = [
    ("CLUSTER-IP", Shape("hash:ip", IPV4, HASH)),
    ("CLUSTER-IP", Shape("hash:ip,port,ip", IPV4, HASH)),
    ("CLUSTER-IP", Shape("hash:ip,port", IPV6, HASH)),
    ("CLUSTER-IP", Shape("hash:ip,port", IPV4, HASH | {"maxelem": 65535})),
    ("CLUSTER-IP", Shape("hash:ip,port", IPV4, {"hashsize": 1024})),
    ("CLUSTER-IP", Shape("hash:ip,port", IPV4, HASH | {"timeout": 0})),
    ("CLUSTER-IP", Shape("hash:ip,port", IPV4, HASH | {"forceadd": 1})),
    ("CLUSTER-IP", Shape("hash:ip,port", IPV4, HASH | {"attribute 12": 1})),  # bitmask
    ("IPVS-IPS", Shape("hash:ip", IPV4, HASH | {"netmask": 24})),
    ("CLUSTER-IP", Shape("list:set", None, {"size": 8})),
    ("NODE-PORT-TCP", Shape("bitmap:port", None, {"from": 30000, "to": 32767})),
    ("NODE-PORT-TCP", Shape("bitmap:port", None, PORTS | {"timeout": 60})),
    ("NODE-PORT-TCP", Shape("bitmap:ip", IPV4, PORTS)),
]


@pytest.mark.parametrize(
    ("suffix", "shape", "usable"),
    [*((*each, True) for each in USABLE), *((*each, False) for each in UNUSABLE)],
)
def test_which_sets_can_be_used_as_they_are(suffix: str, shape: Shape, usable: bool) -> None:
    assert suits(IPV4, suffix, shape) is usable


def test_the_other_family_needs_the_other_family() -> None:
    shape = Shape("hash:ip,port", IPV6, HASH)
    assert suits(IPV6, "CLUSTER-IP", shape)
    assert not suits(IPV6, "CLUSTER-IP", shape._replace(family=IPV4))


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("suffix", SETS)
def test_what_is_created_can_be_used(suffix: str, family: Family) -> None:
    assert suits(family, suffix, shape_of(family, suffix))


def test_no_two_sets_have_the_same_name_and_ipset_takes_all_of_them() -> None:
    names = [name for family in Family for name in all_names(family)]
    assert len({*names}) == len(names) == 4 * len(SETS)
    assert max(map(len, names)) <= 31
