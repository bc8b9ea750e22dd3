"""Itineraries as pictures."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from kproxy.explain.itinerary import UNKNOWN, Ends, Itinerary
from kproxy.explain.picture import WIDTH, picture
from tests.explain.itineraries import ITINERARY, ON_A_NODE, REQUEST, THROUGH, hop, step

SVG = "{http://www.w3.org/2000/svg}"
_LETTER = 7.3  # of the fonts, on average
LONG = Ends(
    "2001:db8:1234:5678:1234:5678:1234:5678", 30000, "2001:db8:8765:4321:8765:4321:8765:4321", 30001
)
WIDE = replace(
    ITINERARY,
    hops=tuple(
        replace(hop(f"a-pod-with-a-long-name-{place}.kube-system", "pod", "eth0>eth0", LONG))
        for place in range(12)
    ),
    sentence=" ".join(["and then it went on to the next of many hosts"] * 20),
)
REFUSED = replace(
    ITINERARY,
    outcome="refused",
    answered=False,
    hops=(
        REQUEST[0],
        replace(
            REQUEST[1],
            after=REQUEST[1].before,
            exit="",
            ipvs=None,
            steps=(step("reject", "KUBE-SERVICES", "no endpoints", verdict="drop"),),
        ),
        replace(
            hop("node-b", "node", ">client", REQUEST[0].before.turned), role="error", packet="RST"
        ),
        replace(
            hop("client", "pod", "eth0>", REQUEST[0].before.turned), role="error", packet="RST"
        ),
    ),
    sentence='refused by "KUBE-SERVICES" & <no endpoints>',
)


LOST = replace(
    ITINERARY,
    outcome="dropped",
    answered=False,
    hops=ITINERARY.hops[:2],
    sentence="node-b drops it: martian source",
)
NOT_SENT = replace(LOST, hops=(), sentence="client has no route to 10.96.0.10")


def texts(itinerary: Itinerary) -> list[ElementTree.Element]:
    return [*ElementTree.fromstring(picture(itinerary)).iter(f"{SVG}text")]


@pytest.mark.parametrize(
    "itinerary",
    [ITINERARY, WIDE, REFUSED, LOST, NOT_SENT, THROUGH, ON_A_NODE],
    ids=["usual", "wide", "refused", "lost", "not sent", "through a proxy", "on a node"],
)
def test_everything_is_within_the_picture(itinerary: Itinerary) -> None:
    height = float(ElementTree.fromstring(picture(itinerary)).get("viewBox", "").split()[-1])
    for each in texts(itinerary):
        x, y, text = float(each.get("x", "")), float(each.get("y", "")), each.text or ""
        wide = _LETTER * len(text)
        start = {"start": x, "middle": x - wide / 2, "end": x - wide}[each.get("text-anchor", "")]
        assert start >= 0, text
        assert start + wide <= WIDTH or len(text) > 100, text
        assert 0 < y < height, text


def test_hosts_hops_and_translations() -> None:
    found = texts(ITINERARY)
    assert [each.text for each in found if each.get("class") == "name"] == [
        "client",
        "node-b",
        "router",
        "web",
    ]
    heads = [float(each.get("x", "")) for each in found if each.get("class") == "name"]
    assert heads == sorted(heads)
    numbers = [each.text for each in found if each.get("class") == "number"]
    assert numbers == [str(number) for number in range(1, len(ITINERARY.hops) + 1)]
    assert [each.text for each in found if each.get("class") == "change"] == [
        "IPVS to 10.244.1.11:8080",
        "translated from 10.96.0.10:80",
    ]
    assert "10.244.2.11:20000 → 10.96.0.10:80" in [each.text for each in found]


def test_what_was_not_watched_is_at_both_sides() -> None:
    found = texts(ON_A_NODE)
    heads = [each.text for each in found if each.get("class") in ("name", "kind")]
    assert heads == ["not watched", "node-b", "node", "not watched"]
    assert [each.text for each in found if each.get("class") == "ends"] == [
        "10.244.2.11:20000 → svc/web:80",
        "10.244.2.11:20000 → pod/web-1:8080",
        "pod/web-1:8080 → 10.244.2.11:20000",
        "svc/web:80 → 10.244.2.11:20000",
    ]
    assert "IPVS to 10.244.1.11:8080 (pod/web-1)" in [each.text for each in found]
    drawn = ElementTree.fromstring(picture(ON_A_NODE))
    ways = [
        float(each.get("x2", "")) > float(each.get("x1", ""))
        for each in drawn.iter(f"{SVG}line")
        if each.get("class") != "life"
    ]
    assert ways == [True, True, False, False]


def test_a_connection_of_a_proxy() -> None:
    found = texts(THROUGH)
    changes = [each.text for each in found if each.get("class") == "change"]
    assert changes == ["a connection of its own"]
    drawn = ElementTree.fromstring(picture(THROUGH))
    arrows = [each.get("class") for each in drawn.iter(f"{SVG}path")]
    assert arrows == [
        *("request", "reply"),
        *["onward request"] * 2,
        *["onward reply"] * 2,
    ]


def test_a_refusal() -> None:
    found = texts(REFUSED)
    ends = [each.text for each in found if each.get("class") == "end"]
    assert ends == ["reject by nat KUBE-SERVICES", "RST"]
    assert found[-1].text == 'refused by "KUBE-SERVICES" & <no endpoints>'


def test_a_packet_that_is_lost_without_a_rule_ends_somewhere() -> None:
    found = [(each.get("class"), each.text) for each in texts(LOST)]
    assert [text for kind, text in found if kind == "end"] == ["it ends here"]
    assert found[-1] == ("failed", LOST.sentence)
    assert "it ends here" not in picture(ITINERARY) + picture(REFUSED)


def test_what_nobody_has_watched_or_what_has_come_does_not_end_there() -> None:
    unknown = replace(LOST, outcome=UNKNOWN)
    assert "it ends here" not in picture(unknown)
    left = replace(ON_A_NODE, answered=False, hops=ON_A_NODE.hops[:1])
    assert "it ends here" not in picture(left)
    served = [each for each in THROUGH.hops if "onward" not in each.role]
    unserved = replace(THROUGH, answered=False, hops=tuple(served), at="node-b")
    assert "it ends here" not in picture(unserved)
    assert "it ends here" in picture(replace(unserved, at="client"))


def test_a_packet_that_goes_round_is_not_drawn_each_time() -> None:
    there, back = (
        hop(host, "node", "eth0>eth0", REQUEST[0].before) for host in ("node-b", "router")
    )
    found = [
        each.text
        for each in texts(replace(LOST, hops=(REQUEST[0], *((there, back) * 30))))
        if each.get("class") in ("number", "kind")
    ]
    assert found[-4:] == ["1", "2", "3", "and so on, 58 hops more"]


def test_a_packet_that_stays_on_its_host_needs_no_arrow() -> None:
    sent = hop("node-b", "node", ">lo", REQUEST[0].before, REQUEST[1].after)
    drawn = picture(replace(LOST, hops=(sent, REQUEST[1], *ITINERARY.hops[2:3])))
    assert drawn.count('<line class="request"') == 1
    found = [(each.get("class"), each.text) for each in ElementTree.fromstring(drawn).iter()]
    assert found.count(("change", "IPVS to 10.244.1.11:8080")) == 1
    assert ("ends", "10.244.2.11:20000 → 10.96.0.10:80") in found


def test_it_needs_no_other_file_and_knows_dark_pages() -> None:
    drawn = picture(ITINERARY)
    assert re.findall(r"https?://[^\"]*|url\(|<script|<image|href", drawn) == [
        "http://www.w3.org/2000/svg"
    ]
    assert "prefers-color-scheme: dark" in drawn
