"""The verdicts are what the rules do that kube-proxy v1.36 was recorded to write; pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kproxy.address import Family, family_of
from kproxy.verdict.places import Place
from kproxy.verdict.senders import EXTERNAL, NODE, POD
from tests.verdict import iptables_walk, ipvs_walk, nft_walk
from tests.verdict.recordings import (
    CASES,
    node_of,
    objects,
    pod_interface,
    proxy,
    questions,
    seen,
)
from tests.verdict.walking import Fate, Node, Packet

Walk = Callable[[Packet, Node], Fate]


def iptables(recording: str) -> dict[Family, Walk]:
    parts = re.split(r"^## (\S+)\n", recording, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    four, six = (iptables_walk.parse(sections[name]) for name in ("iptables", "ip6tables"))
    return {
        Family.IPV4: lambda packet, node: iptables_walk.walk(four, packet, node),
        Family.IPV6: lambda packet, node: iptables_walk.walk(six, packet, node),
    }


def nftables(recording: str) -> dict[Family, Walk]:
    four, six = (nft_walk.parse(recording, name) for name in ("ip", "ip6"))
    return {
        Family.IPV4: lambda packet, node: nft_walk.walk(four, packet, node),
        Family.IPV6: lambda packet, node: nft_walk.walk(six, packet, node),
    }


def ipvs(recording: str) -> dict[Family, Walk]:
    four, six = (ipvs_walk.read(recording, name) for name in ("iptables", "ip6tables"))
    return {
        Family.IPV4: lambda packet, node: ipvs_walk.walk(four, packet, node),
        Family.IPV6: lambda packet, node: ipvs_walk.walk(six, packet, node),
    }


@pytest.mark.parametrize("mode", [iptables, nftables, ipvs], ids=lambda mode: mode.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_verdict_is_what_the_recorded_rules_do(
    case: Path, mode: Callable[[str], dict[Family, Walk]]
) -> None:
    recording = (case / f"kube-proxy.{mode.__name__}").read_text()
    walks, node = mode(recording), node_of(recording)
    ours = proxy(case, mode.__name__)
    wrong = []
    bound = {address for family in Family for address in ours.bound(family)}
    for packet, place in questions(objects(case), pod_interface(case), bound):
        expected = walks[family_of(place.address)](packet, node)
        if (found := seen(ours, packet, place)) != expected:
            wrong.append(f"{packet}: the rules {expected}, kproxy {found}")
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong[:20])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_there_is_a_sender_for_each_word_in_every_case(case: Path) -> None:
    ours = proxy(case, "iptables")
    for address in ("10.96.0.10", "fd00:10:96::a"):
        place = Place(address=address, port=80, protocol="TCP")
        for word in (EXTERNAL, NODE, POD):
            assert ours.answer(word, place).sender.address
