"""`kproxy trace` on labs of `kproxy up`, and on labs of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.utils import RawPcapNgReader

from netns_tests.run.running import until
from netns_tests.trace.captures import shown
from netns_tests.up.machine import KPROXY, Machine, private_machine
from tests.explain.trace_schema import schema_problems
from tests.report.pages import Page

EXAMPLES = Path(__file__).parents[2] / "examples"
WEB = EXAMPLES / "services" / "node-port.yaml"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine with a lab, whose Service `shop` has one pod."""
    with private_machine() as found:
        found.ok("up", "--nodes", "2", "--mode", "nftables")
        found.ok("apply", "-f", str(WEB))
        yield found


def traces(machine: Machine) -> str:
    """Return the tables of traces, and taps, on the hosts of the lab."""
    found = ""
    for host in ("node-a", "node-b", "router", "shell", "outside"):
        command = "nft list tables | grep trace; tail -n +2 /proc/net/packet"
        found += machine.kproxy("shell", host, "--", "sh", "-c", command).stdout
    return found


def test_what_it_prints(machine: Machine) -> None:
    lines = machine.ok("trace", "shell", "shop").splitlines()
    assert lines[0].endswith(":80 (shop), TCP")
    assert lines[2] == "the request: SYN"
    assert any(line.startswith("      dnat       kube-proxy service-") for line in lines)
    assert "the answer: SYN-ACK" in lines
    assert lines[-1].startswith("answered by shop-1: node-b sends it to ")


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_it_fits_the_terminal(machine: Machine, columns: int) -> None:
    for more in ([], ["--all"], ["--family", "4", "--repeat", "3"]):
        done = machine.kproxy("trace", "outside", "node-a:1", *more, columns=columns)
        assert done.returncode == 1, done.stderr
        lines = machine.kproxy("trace", "shell", "shop", *more, columns=columns).stdout.splitlines()
        assert max(map(len, [*lines, *done.stdout.splitlines()])) <= columns


def test_json_is_as_the_page_says(machine: Machine) -> None:
    asked = [
        ("shell", "shop"),
        ("outside", "node/node-a:1"),
        ("shell", "node/node-a:1", "--proto", "udp"),
    ]
    for question in asked:
        done = machine.kproxy("trace", *question, "--json")
        values = json.loads(done.stdout)
        assert schema_problems(values) == []
        assert done.returncode == (0 if values["answered"] else 1)
    several = json.loads(machine.ok("trace", "shell", "shop", "--json", "--repeat", "4"))
    assert [each["at"] for each in several] == ["shop-1"] * 4
    assert schema_problems(several[0]) == []


def test_many_probes_are_counted(machine: Machine) -> None:
    head, line = machine.ok("trace", "shell", "shop", "--repeat", "30").splitlines()
    assert head.startswith("30 times shell asks ")
    assert line.startswith("30  answered by shop-1  10.244.")


def test_a_capture_and_a_picture(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "way.pcapng"
    drawn = tmp_path / "way.svg"
    machine.ok("trace", "shell", "shop", "--pcap", str(path), "--svg", str(drawn))
    assert "DNAT to 10.244." in drawn.read_text()
    packets = []
    with RawPcapNgReader(str(path)) as reader:
        while True:
            try:
                packets.append(reader._read_packet())
            except EOFError:
                break
    names = [told.ifname.decode() for _, told in packets]
    assert names[:2] == ["shell/eth0", "node-b/shell"]
    assert names[-1] == "shell/eth0"
    assert [IP(data)[TCP].flags.value for data, _ in packets[:2]] == [2, 2]
    comments = b"\n".join(line for _, told in packets for line in told.comments or ())
    assert b"dnat" in comments


def test_a_page_has_what_json_has(machine: Machine, tmp_path: Path) -> None:
    page = tmp_path / "way.html"
    done = machine.kproxy("trace", "shell", "shop", "--json", "--html", str(page))
    assert (done.returncode, done.stderr.split()) == (0, ["wrote", str(page)])
    values = json.loads(done.stdout)
    found = Page(page.read_text())
    assert found.pictures == 1
    rows = [row for rows in found.tables.values() for row in rows[1:]]
    for number, (row, hop) in enumerate(zip(rows, values["hops"], strict=True), 1):
        assert row[0] == str(number)
        assert row[1].split(" ")[0] == hop["host"]
        assert hop["in"] in row[2]
        assert hop["out"] in row[2]
        for step in hop["steps"]:
            assert step["effect"] in row[3]
            assert f"{step['table']} {step['chain']}" in row[3] or not step["effect"]
    assert found.has(values["sentence"])
    machine.ok("trace", "shell", "shop", "--repeat", "3", "--html", str(page))
    assert Page(page.read_text()).tables["What became of them"][1][2] == "3"


def test_a_capture_opens_in_tshark(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "way.pcapng"
    closed = ("trace", "outside", "node/node-a:9", "--proto", "udp", "--family", "4")
    assert machine.kproxy(*closed, "--pcap", str(path)).returncode == 1
    *_, last = shown(path, "frame.interface_name", "udp.dstport", "icmp.code")
    assert last == ("outside/eth0", "9", "3")  # port unreachable, with what it answers
    machine.ok("trace", "shell", "shop", "--pcap", str(path))
    packets = shown(path, "frame.interface_name", "tcp.flags", "frame.comment")
    there, back = ([each for each in packets if each[1] == flags] for flags in ("0x0002", "0x0012"))
    assert [name for name, *_ in there[:2]] == ["shell/eth0", "node-b/shell"]
    assert [name for name, *_ in back] == [name for name, *_ in reversed(there)]
    assert "dnat" in "".join(comment for *_, comment in there)


BAD = [
    (("nobody", "shop"), "no host is called 'nobody'; there are: node-a, node-b, shell"),
    (("shell", "shop", "--pcap", "/no/such/folder/x"), "there is no folder /no/such/folder"),
    (("shell", "shop", "--pcap", "x", "--repeat", "2"), "leave out --repeat"),
    (("shell", "shop", "--svg", "/no/such/folder/x"), "there is no folder /no/such/folder"),
    (("shell", "shop", "--mode", "ipvs"), "--mode: only for a LABFILE"),
    (("shell", "shop", "--lab", "nobody"), "no lab nobody is up"),
    (("shell", "shop", "lab.yaml", "--lab", "lab"), "give only one of them"),
    (("shell", "shop", "no-such-file.yaml"), "no-such-file.yaml: No such file or directory"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_input(machine: Machine, arguments: tuple[str, ...], said: str) -> None:
    done = machine.kproxy("trace", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_nothing_is_left_behind(machine: Machine) -> None:
    machine.ok("trace", "shell", "shop")
    assert traces(machine) == ""


def test_nothing_is_left_behind_by_a_command_that_is_killed(machine: Machine) -> None:
    """The lab's process does the work, and ends it."""
    lab = machine.values("status")["pid"]
    os.kill(lab, signal.SIGSTOP)
    try:
        argv = machine.argv(*KPROXY, "trace", "shell", "node/node-a:7", "--proto", "udp")
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as killed:
            waits = Path(f"/proc/{killed.pid}/wchan")
            until("it waits for the answer", lambda: "poll" in waits.read_text())
            killed.kill()
    finally:
        os.kill(lab, signal.SIGCONT)
    tracked = ("shell", "node-a", "--", "conntrack", "-L", "-p", "udp", "--dport", "7")
    until("the connection is tracked", lambda: "dport=7" in machine.kproxy(*tracked).stdout)
    until("nobody traces", lambda: not traces(machine))
    assert machine.ok("trace", "shell", "shop")


def test_commands_at_the_same_time_take_turns(machine: Machine) -> None:
    argv = machine.argv(*KPROXY, "trace", "shell", "shop", "--json")
    running = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    found = [json.loads(each.communicate(timeout=60)[0]) for each in running]
    assert [each["answered"] for each in found] == [True] * 4
    ports = {each["hops"][0]["before"]["source_port"] for each in found}
    assert len(ports) == 4
    assert len({len(each["hops"][1]["steps"]) for each in found}) == 1
    assert traces(machine) == ""


def test_a_lab_of_its_own(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(
        "name: own\ncontrolPlane: true\nnodes:\n- name: node-a\n  pods: [{name: shell}]\n"
    )
    arguments = ("shell", "shop", str(file), "--manifests", str(WEB), "--mode", "nftables")
    done = machine.kproxy("trace", *arguments, "--nftables-layout", "flat", "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["at"] == "shop-1"
    chains = [step["chain"] for step in values["hops"][1]["steps"] if step["effect"] == "dnat"]
    assert chains == ["lb-tcp-1"]
    assert [each["name"] for each in machine.values("ls")] == ["lab"]


def test_all_that_is_told_of_a_connection_through_a_proxy(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(
        "name: own\ncontrolPlane: true\nnodes:\n- name: node-a\n  pods: [{name: shell}]\n"
    )
    ask = ("trace", "shell", "shop", str(file), "--manifests", str(WEB), "--mode", "userspace")
    capture, drawn, page = (tmp_path / f"way.{each}" for each in ("pcapng", "svg", "html"))
    files = ("--pcap", str(capture), "--svg", str(drawn), "--html", str(page))
    values = json.loads(machine.ok(*ask, *files, "--json"))
    assert schema_problems(values) == []
    assert values["at"] == values["endpoints"][-1]["host"] == "shop-1"
    begun = next(hop for hop in values["hops"] if hop["role"] == "onward request")
    assert begun["host"] == "node-a"
    assert "a connection of its own" in drawn.read_text()
    found = Page(page.read_text())
    assert len(found.tables["the proxy's own connection: SYN"]) == 3  # a head, and two hops
    assert found.has(values["sentence"])
    syns = [
        name
        for name, flags in shown(capture, "frame.interface_name", "tcp.flags")
        if flags == "0x0002"
    ]
    assert syns == ["shell/eth0", "node-a/shell", "node-a/shop-1", "shop-1/eth0"]
    _, counted = machine.ok(*ask, "--repeat", "5").splitlines()
    assert counted.startswith("5  answered by shop-1  10.244.")
