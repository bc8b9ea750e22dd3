"""Rules of others, by their text."""

from __future__ import annotations

import pytest

from kproxy.doctor.rule_walk import Chains, Flow, ends_before, ends_here, source_changes

INSIDE, OUTSIDE, POD = "10.244.2.5", "198.51.100.7", "10.244.1.5"
FLANNEL = (  # of node 1
    "-s 10.244.1.0/24 -d 10.244.0.0/16 -j RETURN",
    "-s 10.244.0.0/16 -d 10.244.1.0/24 -j RETURN",
    "! -s 10.244.0.0/16 -d 10.244.1.0/24 -j RETURN",
    "-s 10.244.0.0/16 ! -d 10.244.0.0/16 -j MASQUERADE --random-fully",
    "! -s 10.244.0.0/16 -d 10.244.0.0/16 -j MASQUERADE --random-fully",
)


@pytest.mark.parametrize(
    ("rules", "flow", "changed"),
    [
        (FLANNEL, Flow(OUTSIDE, POD), False),
        (FLANNEL, Flow(OUTSIDE, INSIDE), True),
        (FLANNEL, Flow(POD, INSIDE), False),
        (FLANNEL, Flow(POD, OUTSIDE), True),
        (("-d 10.244.0.0/16 -j SNAT --to-source 192.0.2.1",), Flow(OUTSIDE, POD), True),
        (('-m comment --comment "a ! -s b" -j MASQUERADE',), Flow(OUTSIDE, POD), True),
        (("-j ACCEPT", "-j MASQUERADE"), Flow(OUTSIDE, POD), False),
        (("-j KUBE-POSTROUTING",), Flow(OUTSIDE, POD), False),
        (("-j plug-in", "-j MASQUERADE"), Flow(OUTSIDE, POD), True),  # it returns
        # Whom these are for, their text does not tell.
        (("-o eth0 -j MASQUERADE",), Flow(OUTSIDE, POD), False),
        (("-m mark --mark 0x4000/0x4000 -j MASQUERADE",), Flow(OUTSIDE, POD), False),
    ],
)
def test_source_changes(rules: tuple[str, ...], flow: Flow, changed: bool) -> None:
    chains: Chains = {
        "POSTROUTING": rules,
        "KUBE-POSTROUTING": ("-j MASQUERADE",),
        "plug-in": ("-s 192.0.2.0/24 -j ACCEPT", "-j RETURN"),
    }
    found = source_changes(chains, "POSTROUTING", flow, but="KUBE-")
    assert (found is not None) is changed


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        (("-j KUBE-FORWARD", "-j DROP"), [("FORWARD", True)]),
        (("-i eth0 -j DROP",), [("FORWARD", False)]),
        (("-j firewall",), [("firewall", False), ("firewall", True)]),
        (("-i eth0 -j firewall",), [("firewall", False), ("firewall", False)]),
        (('-m comment --comment "-j DROP" -j ACCEPT',), []),
    ],
)
def test_what_ends_a_way(rules: tuple[str, ...], found: list[tuple[str, bool]]) -> None:
    chains: Chains = {
        "FORWARD": rules,
        "KUBE-FORWARD": ("-m conntrack --ctstate INVALID -j DROP",),
        "firewall": ("-s 192.0.2.1/32 -j RETURN", "-p udp -j DROP", "-j DROP"),
    }
    ends = ends_here(chains, "FORWARD", {"DROP", "RETURN"})
    assert [(each.chain, each.certain) for each in ends] == found


def test_only_what_is_before_the_proxy() -> None:
    chains: Chains = {"PREROUTING": ("-j ACCEPT", "-j KUBE-SERVICES", "-j DNAT")}
    (found,) = ends_here(chains, "PREROUTING", {"ACCEPT", "DNAT"}, until="KUBE-")
    assert found.target == "ACCEPT"


PODS = "-s 10.244.0.0/16 -d 10.244.0.0/16"


@pytest.mark.parametrize(
    ("rules", "ends"),
    [
        (("-j KUBE-POSTROUTING", f"{PODS} -j RETURN"), ""),
        ((f"{PODS} -j RETURN", "-j KUBE-POSTROUTING"), "POSTROUTING"),
        ((f"{PODS} -j ACCEPT", "-j KUBE-POSTROUTING"), "POSTROUTING"),
        (("-j returns", "-j KUBE-POSTROUTING"), ""),  # to POSTROUTING
        (("-j accepts", "-j KUBE-POSTROUTING"), "accepts"),
        ((f"{PODS} -j MASQUERADE", "-j KUBE-POSTROUTING"), ""),
        (("-s 192.0.2.1/32 -j ACCEPT", "-j KUBE-POSTROUTING"), ""),
        (("-m mark --mark 0x1 -j ACCEPT", "-j KUBE-POSTROUTING"), ""),  # whose, it does not tell
    ],
)
def test_what_ends_a_way_before_a_chain(rules: tuple[str, ...], ends: str) -> None:
    chains: Chains = {
        "POSTROUTING": rules,
        "KUBE-POSTROUTING": ("-j MASQUERADE",),
        "returns": (f"{PODS} -j RETURN", "-j ACCEPT"),
        "accepts": (f"{PODS} -j ACCEPT",),
    }
    found = ends_before(chains, "POSTROUTING", Flow(POD, POD), "KUBE-POSTROUTING")
    assert (found.chain if found else "") == ends
