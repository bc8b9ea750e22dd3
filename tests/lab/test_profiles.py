"""The configuration of a node under a profile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest
from msgspec.structs import replace

from kproxy.address import Family
from kproxy.backend import load
from kproxy.config import ProxyConfig
from kproxy.config.types import IptablesSection
from kproxy.errors import BadInput
from kproxy.kernel.netns import Namespace
from kproxy.lab import LabNode, LabSpec, NodeSpec
from kproxy.lab.profiles import PROFILES
from kproxy.lab.proxies import node_config

GIVEN = ProxyConfig()
OWN_CIDR = replace(GIVEN, cluster_cidr="10.0.0.0/8")
MASQUERADE = replace(GIVEN, iptables=IptablesSection(masquerade_all=True))
PODS, PODS_V6 = "10.244.0.0/16,fd00:10:244::/56", "fd00:10:244::/56"
V6_ONLY = (Family.IPV6,)
SPARING = {"iptables": {"masqueradeAll": False}}


def config(
    profile: str,
    given: ProxyConfig = GIVEN,
    overrides: Mapping[str, object] | None = None,
    families: tuple[Family, ...] = tuple(Family),
    mode: str = "iptables",
) -> ProxyConfig:
    """Return the configuration of a node with these overrides."""
    spec = NodeSpec(name="node-a", config=overrides or {})
    lab = LabSpec(nodes=(spec,), profile=profile, families=families)
    nowhere = cast(Namespace, None)  # the namespace is not used
    node = LabNode(
        name="node-a", namespace=nowhere, addresses={}, spec=spec, subnets={}, gateways={}
    )
    return node_config(lab, node, load(mode), given)


CONFIGS = [  # profile, given, overrides of the node, families -> clusterCIDR, masqueradeAll of
    # iptables and of nftables
    ("upstream", GIVEN, {}, tuple(Family), PODS, False, False),
    ("upstream", GIVEN, {}, V6_ONLY, PODS_V6, False, False),
    ("upstream", OWN_CIDR, {}, tuple(Family), "10.0.0.0/8", False, False),
    ("upstream", MASQUERADE, {}, tuple(Family), PODS, True, False),
    ("upstream", GIVEN, {"clusterCIDR": "10.1.0.0/16"}, V6_ONLY, "10.1.0.0/16", False, False),
    ("cce", GIVEN, {}, tuple(Family), "", True, True),
    ("cce", OWN_CIDR, {}, tuple(Family), "10.0.0.0/8", True, True),  # an explicit value is kept
    ("cce", GIVEN, SPARING, tuple(Family), "", False, True),  # the node goes before the profile
]


@pytest.mark.parametrize(
    ("profile", "given", "overrides", "families", "cidr", "iptables", "nftables"), CONFIGS
)
def test_configuration(
    profile: str,
    given: ProxyConfig,
    overrides: Mapping[str, object],
    families: tuple[Family, ...],
    cidr: str,
    iptables: bool,
    nftables: bool,
) -> None:
    found = config(profile, given, overrides, families)
    assert found.cluster_cidr == cidr
    assert found.iptables.masquerade_all is iptables
    assert found.nftables.masquerade_all is nftables


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("mode", ["iptables", "ipvs", "nftables"])
def test_what_no_profile_alters(profile: str, mode: str) -> None:
    found = config(profile, mode=mode, overrides={"iptables": {"masqueradeBit": 13}})
    assert (found.mode, found.hostname_override, found.conntrack.max_per_core) == (
        mode,
        "node-a",
        0,
    )
    assert found.iptables.masquerade_bit == 13  # one field of a section that the profile has, too


def test_a_configuration_that_cannot_be() -> None:
    with pytest.raises(BadInput, match=r"configuration of node-a: .*masqueradeBit") as caught:
        config("cce", overrides={"iptables": {"masqueradeBit": 32}, "clusterCIDR": "x"})
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_say_what_they_are(name: str) -> None:
    assert PROFILES[name].name == name
    assert PROFILES[name].summary
