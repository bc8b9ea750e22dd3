"""The steps of real packets through rules, as the kernel reports them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product

import pytest

from kproxy.address import Family
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel import sysctl
from kproxy.kernel.iptables_programs import Variant
from kproxy.kernel.process import run
from kproxy.kernel.trace import Trace, TraceStep
from kproxy.kernel.xtables import Xtables
from kproxy.probe.packets import Role, sighting
from netns_tests.kernel.traced_net import (
    POD,
    SERVICE,
    V4,
    V6,
    Net,
    connected,
    no_packet_waits,
)
from netns_tests.run.running import until

VARIANTS = ["nft", "legacy", pytest.param("legacy", marks=pytest.mark.ipvs, id="legacy-ipvs")]
WORDS = {  # placeholder in rules -> address by family
    "CLIENT": {V4: "10.0.1.2/32", V6: "fd00:1::2/128"},
    "POD": {V4: "10.0.2.2/32", V6: "fd00:2::2/128"},
    "SERVICE": {V4: "10.96.0.1/32", V6: "fd00:96::1/128"},
    "TO_POD": POD,
    "NODE": {V4: "10.0.2.1", V6: "fd00:2::1"},
    "UNREACHABLE": {V4: "icmp-port-unreachable", V6: "icmp6-port-unreachable"},
    "FAMILY": {V4: "ip", V6: "ip6"},
}


@pytest.fixture
def net() -> Iterator[Net]:
    with connected() as net:
        yield net


def words(family: Family, text: str) -> str:
    for word, values in WORDS.items():
        text = text.replace(f"<{word}>", values[family])
    return text


def write(net: Net, variant: Variant, table: str, lines: Sequence[str]) -> None:
    with net.node.entered():
        for family in Family:
            text = [words(family, f"{line}\n") for line in lines]
            Xtables(family, variant).restore([f"*{table}\n", *text, "COMMIT\n"])


def decides(step: TraceStep) -> bool:
    """Tell whether the step is more than the end of a chain or a policy that accepts."""
    return step.kind == "rule" or step.verdict not in ("accept", "continue")


def requests(
    trace: Trace, tags: set[int], last: Callable[[TraceStep], bool], also: Iterable[int] = ()
) -> dict[int, list[TraceStep]]:
    """Return the steps of each probe up to its `last` one, for which this waits. `also`: others."""
    found: dict[int, list[TraceStep]] = defaultdict(list)
    waiting, deadline = set(tags), time.monotonic() + 10
    while waiting:
        assert time.monotonic() < deadline, f"{len(waiting)} without their last step: {found}"
        for step in trace.read():
            seen = sighting(step.packet, tags | {*also})
            if seen and seen.role is Role.REQUEST:
                found[seen.tag].append(step)
                if last(step):
                    waiting.discard(seen.tag)
        time.sleep(0.01)
    return found


GATE = r"""-A FORWARD -d <POD> -m comment --comment "to the pod\'s gate" -j GATE"""
CASES = {  # table, its rules, the packets' steps: rules with verdicts
    "drop": (
        "filter",
        [":GATE - [0:0]", GATE, "-A GATE -s <CLIENT> -m comment --comment no -j DROP"],
        [(GATE, "jump GATE"), ("-A GATE -s <CLIENT> -m comment --comment no -j DROP", "drop")],
    ),
    "drop everything": (
        "filter",
        [":GATE - [0:0]", GATE, "-A GATE -j DROP"],
        [(GATE, "jump GATE"), ("-A GATE -j DROP", "drop")],
    ),
    "reject": (
        "filter",
        ["-A FORWARD -s <POD> -j ACCEPT", "-A FORWARD -j REJECT --reject-with <UNREACHABLE>"],
        [("-A FORWARD -j REJECT --reject-with <UNREACHABLE>", "drop")],
    ),
    "policy": (
        "filter",
        [":FORWARD DROP [0:0]", "-A FORWARD -j MARK --set-xmark 0x4000/0x4000"],
        [
            ("-A FORWARD -j MARK --set-xmark 0x4000/0x4000", "continue"),
            ("-P FORWARD DROP", "drop"),
        ],
    ),
    "return": (
        "filter",
        [":GATE - [0:0]", GATE, "-A FORWARD -j DROP", "-A GATE -d <POD> -j RETURN", "-A GATE"],
        [
            (GATE, "jump GATE"),
            ("-A GATE -d <POD> -j RETURN", "return"),
            ("-A FORWARD -j DROP", "drop"),
        ],
    ),
    "goto": (
        "filter",
        [
            ":FORWARD DROP [0:0]",
            ":GATE - [0:0]",
            "-A FORWARD -g GATE",
            "-A GATE -m mark --mark 0x0",
        ],
        [
            ("-A FORWARD -g GATE", "goto GATE"),
            ("-A GATE -m mark --mark 0x0", "continue"),
            ("-P FORWARD DROP", "drop"),
        ],
    ),
    "raw": (
        "raw",
        ["-A PREROUTING -d <SERVICE> -j ACCEPT", "-A PREROUTING -d <POD> -j DROP"],
        [("-A PREROUTING -d <POD> -j DROP", "drop")],
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", CASES)
def test_the_way_to_a_drop(net: Net, case: str, variant: Variant) -> None:
    table, lines, expected = CASES[case]
    write(net, variant, table, lines)
    with net.node.entered():
        trace = Trace.start(variant)
    with trace:
        tags = net.send_each(POD)
        ways = requests(trace, set(tags), lambda step: step.verdict == "drop")
        for tag, family in tags.items():
            way = [step for step in ways[tag] if decides(step)]
            assert [(trace.describe(step), step.verdict) for step in way] == [
                (words(family, rule), verdict) for rule, verdict in expected
            ]
            assert {step.table for step in way} == {table}
            assert [step.order for step in way] == sorted(step.order for step in way)
            assert {step.iif for step in way} == {"to-client"}
            assert {step.oif for step in way} == ({""} if table == "raw" else {"to-pod"})


TRANSLATIONS = {  # the translation of the source: rule
    "masquerade": "-A POSTROUTING -s <CLIENT> -j MASQUERADE --random-fully",
    "snat": "-A POSTROUTING -s <CLIENT> -j SNAT --to-source <NODE>",
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", TRANSLATIONS)
def test_translations(net: Net, name: str, variant: Variant) -> None:
    """The destination is translated first, which shows in the step of the source's translation."""
    destination = "-A SERVICES -d <SERVICE> -j DNAT --to-destination <TO_POD>"
    jump, source = "-A PREROUTING -j SERVICES", TRANSLATIONS[name]
    write(net, variant, "nat", [":SERVICES - [0:0]", jump, destination, source])
    with net.node.entered():
        trace = Trace.start(variant)
    with trace:
        tags = net.send_each(SERVICE)
        ways = requests(
            trace, set(tags), lambda step: decides(step) and step.chain == "POSTROUTING"
        )
        for tag, family in tags.items():
            way = [step for step in ways[tag] if decides(step)]
            assert [(trace.describe(step), step.verdict) for step in way] == [
                (jump, "jump SERVICES"),
                (words(family, destination), "accept"),
                (words(family, source), "accept"),
            ]
            seen = [sighting(step.packet, {tag}) for step in way]
            assert [each and each.destination for each in seen] == [
                *(SERVICE[family], SERVICE[family]),
                POD[family],
            ]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_hosts_own_packets(net: Net, variant: Variant) -> None:
    rule = "-A OUTPUT -d <POD> -j DROP"
    write(net, variant, "filter", [rule])
    with net.node.entered():
        trace = Trace.start(variant)
    with trace:
        node = Net(net.node, net.node)
        tags = {}
        for family, protocol in product(Family, ("TCP", "UDP")):
            with pytest.raises(PermissionError):
                node.send(family, protocol, POD[family])
            tags[node.tags] = family
        ways = requests(trace, set(tags), lambda step: step.verdict == "drop")
        for tag, family in tags.items():
            last = ways[tag][-1]
            assert trace.describe(last) == words(family, rule)
            assert (last.iif, last.oif) == ("", "to-pod")


NFTABLES = """
table <TABLE> kube-proxy {
    map services {
        type <TYPE> . inet_proto . inet_service : verdict
        elements = { <ADDRESS> . tcp . 80 : goto reject-it, <ADDRESS> . udp . 80 : drop }
    }
    chain reject-it { reject comment "no endpoints # handle 3"; }
    chain forward {
        type filter hook forward priority filter; policy accept;
        meta mark set 0x1
        <FAMILY> daddr . meta l4proto . th dport vmap @services
    }
    chain late {
        type filter hook forward priority filter + 10; policy drop;
        <FAMILY> daddr <ADDRESS> tcp dport { 81, 82 } drop
    }
}
"""
NFTABLES_WAYS = [  # protocol, port, the steps from the forward chains on
    (
        *("TCP", 80),
        [
            ("<FAMILY> daddr . meta l4proto . th dport vmap @services", "goto reject-it"),
            ('reject comment "no endpoints # handle 3"', "drop"),
        ],
    ),
    *(("UDP", 80, [("<FAMILY> daddr . meta l4proto . th dport vmap @services", "drop")]),),
    *(("TCP", 82, [("<FAMILY> daddr <ADDRESS> tcp dport { 81, 82 } drop", "drop")]),),
    *(("UDP", 82, [("policy drop", "drop")]),),
]


@pytest.mark.parametrize("inet", [False, True], ids=["ip", "inet"])
def test_tables_of_nftables(net: Net, inet: bool) -> None:
    for family, protocol_port_way in product(Family, NFTABLES_WAYS):
        protocol, port, expected = protocol_port_way
        table = "inet" if inet else WORDS["FAMILY"][family]
        values = {
            "<TABLE>": table,
            "<ADDRESS>": POD[family],
            "<FAMILY>": WORDS["FAMILY"][family],
            "<TYPE>": "ipv4_addr" if family is V4 else "ipv6_addr",
        }

        def filled(text: str, values: dict[str, str] = values) -> str:
            for word, value in values.items():
                text = text.replace(word, value)
            return text

        with net.node.entered():
            run(["nft", "flush", "ruleset"])
            run(["nft", "-f", "-"], filled(NFTABLES))
            trace = Trace.start("nft")
        with trace:
            tag = net.send(family, protocol, POD[family], port)
            steps = requests(trace, {tag}, lambda step: step.verdict == "drop")[tag]
            assert {(step.family, step.table) for step in steps} == {(table, "kube-proxy")}
            way = [(trace.describe(step), step.verdict) for step in steps if decides(step)]
            mark = "meta mark set 0x00000001"
            assert way == [(mark, "continue"), *((filled(rule), said) for rule, said in expected)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_many_packets_at_once(net: Net, variant: Variant) -> None:
    """Each probe is dropped by the rule for its port."""
    ports = range(3000, 3025)
    rules = [f"-A FORWARD -p {p} -m {p} --dport {n} -j DROP" for p in ("tcp", "udp") for n in ports]
    write(net, variant, "filter", rules)
    with net.node.entered():
        trace = Trace.start(variant)
    with trace:
        sent = {
            net.send(family, protocol, POD[family], port): (protocol.lower(), port)
            for _, family, protocol, port in product(range(2), Family, ("TCP", "UDP"), ports)
        }
        assert len(sent) == 200
        ways = requests(trace, set(sent), lambda step: step.verdict == "drop")
        for tag, (protocol, port) in sent.items():
            (drop,) = (step for step in ways[tag] if step.verdict == "drop")
            assert trace.describe(drop) == (
                f"-A FORWARD -p {protocol} -m {protocol} --dport {port} -j DROP"
            )


def everything() -> list[str]:
    """Return everything in the namespace that a trace might change."""
    saves = [f"{command}-legacy-save -t raw" for command in ("iptables", "ip6tables")]
    texts = [run(save.split()) for save in saves]
    lines = [line for text in texts for line in text.splitlines() if not line.startswith("#")]
    settings = [sysctl.read(f"net/netfilter/nf_log/{number}") for number in (2, 10)]
    return [*(line.split("[")[0] for line in lines), *settings]


@pytest.mark.parametrize("variant", VARIANTS)
def test_closing_removes_everything(net: Net, variant: Variant) -> None:
    write(net, variant, "filter", ["-A FORWARD -j DROP"])
    write(net, variant, "raw", ["-A PREROUTING -m mark --mark 0x7 -j TRACE"])
    with net.node.entered():
        before = everything()
        with Trace.start(variant) as trace:
            if variant == "legacy":
                assert everything() != before
        assert everything() == before
        trace.close()
    assert net.node.fileno() >= 0


def test_closing_removes_the_tables_of_nf_tables(net: Net) -> None:
    """It also removes a predecessor's. One that is removed already is no error."""
    with net.node.entered():
        run(["nft", "add", "table", "inet", "mine"])
        before = run(["nft", "list", "ruleset"])
        crashed = Trace.start("nft")
        with Trace.start("nft"):
            assert run(["nft", "list", "ruleset"]).count("nftrace set 1") == 4
        assert run(["nft", "list", "ruleset"]) == before
        crashed.close()
        assert run(["nft", "list", "ruleset"]) == before


@pytest.mark.parametrize("variant", VARIANTS[1:])
def test_the_legacy_variant_tells_only_one(net: Net, variant: Variant) -> None:
    with net.node.entered():
        before = everything()
        with Trace.start(variant):
            during = everything()
            with pytest.raises(Unsupported, match="group 0") as refused:
                Trace.start(variant)
            assert "stop any other program" in refused.value.remedy
            assert everything() == during != before


@pytest.mark.parametrize("variant", VARIANTS)
def test_lost_steps_are_an_error(net: Net, variant: Variant) -> None:
    write(net, variant, "filter", ["-A FORWARD -j DROP"])
    with net.node.entered():
        trace = Trace.start(variant, buffer_bytes=1 << 16)
    with trace:
        for _ in range(100):
            net.send_each(POD)
        until("no packet waits for a processor", no_packet_waits)
        with pytest.raises(KernelRefused, match="steps of traced packets were lost"):
            trace.read()
        tag = net.send(V4, "TCP", POD[V4])
        assert requests(trace, {tag}, lambda step: step.verdict == "drop")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_rule_that_is_gone_has_no_text(net: Net, variant: Variant) -> None:
    write(net, variant, "filter", [":GATE - [0:0]", "-A FORWARD -j GATE", "-A GATE -j DROP"])
    with net.node.entered():
        trace = Trace.start(variant)
    with trace:
        tag = net.send(V4, "TCP", POD[V4])
        last = requests(trace, {tag}, lambda step: step.verdict == "drop")[tag][-1]
        trace.read()
        write(net, variant, "filter", ["-D FORWARD -j GATE", "-F GATE", "-X GATE"])
        assert trace.describe(last) == ""


@pytest.mark.parametrize("variant", VARIANTS)
def test_steps_of_another_family_or_discarded(net: Net, variant: Variant) -> None:
    write(net, variant, "filter", ["-A FORWARD -j DROP"])
    with net.node.entered():
        trace = Trace.start(variant, families=[Family.IPV4])
    with trace:
        first = net.send(Family.IPV4, "UDP", POD[Family.IPV4])
        with net.node.entered():  # its steps are there when the rule has counted it
            rules = [f"iptables-{variant}", "-nvxL", "FORWARD"]
            until("a drop", lambda: run(rules).splitlines()[-1].split()[0] == "1")
        trace.discard()
        also = [first, net.send(Family.IPV6, "UDP", POD[Family.IPV6])]
        last = net.send(Family.IPV4, "UDP", POD[Family.IPV4])
        assert requests(trace, {last}, lambda step: step.verdict == "drop", also).keys() == {last}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_trace_that_leaves_its_rules_makes_room_for_another(net: Net, variant: Variant) -> None:
    write(net, variant, "filter", ["-A FORWARD -p udp -j DROP"])
    with net.node.entered():
        Trace.start(variant).leave()
        trace = Trace.start(variant)
    with trace:
        tag = net.send(Family.IPV4, "UDP", POD[Family.IPV4])
        (*_, drop) = requests(trace, {tag}, lambda step: step.verdict == "drop")[tag]
        assert trace.describe(drop) == "-A FORWARD -p udp -j DROP"
