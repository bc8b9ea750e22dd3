"""Itineraries on a terminal."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from kproxy.cli.itinerary_text import lines_of, summary_lines
from kproxy.explain.itinerary import Ends
from tests.explain.itineraries import ITINERARY, ON_A_NODE, THROUGH


def test_the_whole_report() -> None:
    assert lines_of(ITINERARY, 200) == [
        "client asks 10.96.0.10:80 (web), TCP",
        "",
        "the request: SYN",
        " 1  client (pod)  out by eth0",
        "    10.244.2.11:20000 -> 10.96.0.10:80",
        " 2  node-b (node)  in by client, out by eth0",
        "    10.244.2.11:20000 -> 10.96.0.10:80",
        "    prerouting",
        "      jump       nat KUBE-SERVICES: default/web:http cluster IP",
        "      dnat       nat KUBE-SEP-A: default/web:http, now 10.244.1.11:8080",
        "    2 more steps without an effect (--all)",
        "    ipvs: 10.96.0.10:80 (rr) chooses 10.244.1.11:8080",
        "    route: via 192.168.10.1 dev eth0 table 100",
        "    => 10.244.2.11:20000 -> 10.244.1.11:8080",
        (
            "    conntrack: 10.244.2.11:20000 -> 10.96.0.10:80, "
            "reply 10.244.1.11:8080 -> 10.244.2.11:20000, SYN_RECV, mark 0x4000, deleted since"
        ),
        " 3  router  in by node-b, out by node-a",
        "    10.244.2.11:20000 -> 10.244.1.11:8080",
        "    route: dev web",
        " 4  web (pod)  in by eth0",
        "    10.244.2.11:20000 -> 10.244.1.11:8080",
        "",
        "the answer: SYN-ACK",
        " 5  web (pod)  out by eth0",
        "    10.244.1.11:8080 -> 10.244.2.11:20000",
        " 6  router  in by node-a, out by node-b",
        "    10.244.1.11:8080 -> 10.244.2.11:20000",
        "    route: dev web",
        " 7  node-b (node)  in by eth0, out by client",
        "    10.244.1.11:8080 -> 10.244.2.11:20000",
        "    route: via 192.168.10.1 dev eth0 table 100",
        "    => 10.96.0.10:80 -> 10.244.2.11:20000",
        (
            "    conntrack: 10.244.2.11:20000 -> 10.96.0.10:80, "
            "reply 10.244.1.11:8080 -> 10.244.2.11:20000, SYN_RECV, mark 0x4000, deleted since"
        ),
        " 8  client (pod)  in by eth0",
        "    10.96.0.10:80 -> 10.244.2.11:20000",
        "",
        "answered by web: node-b sends it to 10.244.1.11:8080",
    ]


def test_everything_has_the_rules_and_those_without_an_effect() -> None:
    lines = lines_of(ITINERARY, 200, everything=True)
    here = lines.index("    prerouting")
    assert lines[here : here + 9] == [
        "    prerouting",
        "      jump       nat KUBE-SERVICES: default/web:http cluster IP",
        "          -A KUBE-SERVICES -j X",
        "      return     nat KUBE-X",
        "          -A KUBE-X -j X",
        "      dnat       nat KUBE-SEP-A: default/web:http, now 10.244.1.11:8080",
        "          -A KUBE-SEP-A -j X",
        "      jump       nat PREROUTING: to KUBE-X",
        "          -A PREROUTING -j X",
    ]
    assert not any("without an effect" in line for line in lines)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("everything", [False, True])
def test_it_fits(width: int, everything: bool) -> None:
    long = Ends("2001:db8:198:1234::11", 20000, "2001:db8:203:1234::101", 30080)
    wide = replace(ITINERARY.hops[0], before=long, after=long.turned)
    lines = lines_of(replace(ITINERARY, hops=(wide, *ITINERARY.hops)), width, everything=everything)
    assert max(map(len, lines)) <= width


def test_a_probe_without_an_answer() -> None:
    lost = replace(ITINERARY, answered=False, sentence="node-a drops the answer", at="node-a")
    assert lines_of(lost, 80)[-1] == "not answered: node-a drops the answer"


def test_a_connection_of_a_proxy_has_parts_of_its_own() -> None:
    lines = lines_of(THROUGH, 200)
    assert lines[2:5] == [
        "the request: SYN",
        " 1  client (pod)  out by eth0",
        "    10.244.2.11:20000 -> 10.96.0.10:80",
    ]
    assert [line for line in lines if line.endswith(("SYN-ACK", ": SYN"))] == [
        "the request: SYN",
        "the answer: SYN-ACK",
        "the proxy's own connection: SYN",
        "its answer: SYN-ACK",
    ]
    here = lines.index("the proxy's own connection: SYN")
    assert lines[here + 1 : here + 4] == [
        " 5  node-b (node)  out by eth0",
        "    192.168.10.12:40000 -> 10.244.1.11:8080",
        " 6  router  in by node-b, out by node-a",
    ]
    assert lines[-2:] == [
        f"answered by web: {THROUGH.sentence}",
        "not seen: whose connection it is",
    ]
    assert summary_lines([THROUGH], 80)[1] == "1  answered by web  10.244.1.11:8080"


def test_a_summary_has_a_line_for_each_fate() -> None:
    (endpoint,) = ITINERARY.endpoints
    other = replace(ITINERARY, endpoints=(replace(endpoint, address="10.244.3.11"),))
    lost = replace(ITINERARY, answered=False, endpoints=(), sentence="node-b drops it")
    assert summary_lines([lost, *[ITINERARY] * 10, other], 80) == [
        "12 times client asks 10.96.0.10:80, TCP",
        "10  answered by web  10.244.1.11:8080",
        " 1  node-b drops it",
        " 1  answered by web  10.244.3.11:8080",
    ]


def test_places_have_names() -> None:
    asked = replace(ON_A_NODE, question=replace(ON_A_NODE.question, target="10.96.0.10:80"))
    lines = lines_of(asked, 200)
    assert lines[0] == "client asks 10.96.0.10:80 (svc/web), TCP"
    assert "    10.244.2.11:20000 -> 10.96.0.10:80 (svc/web)" in lines
    assert "    => 10.244.2.11:20000 -> 10.244.1.11:8080 (pod/web-1)" in lines
    assert lines[-2].startswith("answered by 10.244.1.11:8080 (pod/web-1): ")
