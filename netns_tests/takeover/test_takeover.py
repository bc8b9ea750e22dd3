"""kproxy takes over from a kube-proxy, and a kube-proxy from kproxy, as docs/operating.md says.

The kube-proxy is a recording of the rules of the real one; its start is the load of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kproxy.kernel import nfacct, sysctl
from netns_tests.conformance.comparison import differences
from netns_tests.conformance.test_comparison import restorable
from netns_tests.modes import FLAT, IPTABLES, Mode
from netns_tests.run.running import Place, Running, until
from netns_tests.takeover.node import RecordedNode, Traffic, recorded_node

CASE = Path(__file__).parents[1] / "conformance" / "cases" / "nodeport-cluster"
NFTABLES = Mode("nftables")
PAIRS = [  # the mode of kube-proxy, and of the kproxy that replaces it
    (IPTABLES[0], IPTABLES[0]),
    (IPTABLES[1], IPTABLES[1]),
    (NFTABLES, NFTABLES),
    (IPTABLES[0], NFTABLES),
    (IPTABLES[1], FLAT),
    (NFTABLES, IPTABLES[0]),
    (NFTABLES, FLAT),
]


@pytest.fixture
def node() -> Iterator[RecordedNode]:
    with recorded_node() as made:
        yield made


class KubeProxy:
    """A kube-proxy in this mode: what it does to the kernel when it starts."""

    def __init__(self, node: RecordedNode, mode: Mode) -> None:
        self._node = node
        self._mode = mode
        self.recording = (CASE / f"kube-proxy.{mode.name}").read_text()

    def start(self) -> None:
        if self._mode.name == "nftables":
            rules = self.recording.partition("## sysctl")[0]
            replaced = "".join(
                f"add table {family} kube-proxy\ndelete table {family} kube-proxy\n"
                for family in ("ip", "ip6")
            )
            self._node.tool("nft", "-f", "-", stdin=replaced + rules)
            return
        self._node.namespaces["node"].run(self._settings)
        for command, tables in re.findall(r"## (ip6?tables)\n([^#]*)", self.recording):
            restore, jumps = _as_kube_proxy_writes(tables)
            program = f"{command}-{self._mode.variant}"
            self._node.tool(f"{program}-restore", "--noflush", "--wait=5", stdin=restore)
            saved = self._node.tool(f"{program}-save")
            for table, jump in jumps:
                if jump not in saved.partition(f"*{table}")[2].partition("COMMIT")[0]:
                    self._node.tool(program, "-t", table, *_words(jump))

    def _settings(self) -> None:
        sysctl.write("net/ipv4/conf/all/route_localnet", 1)
        for counter in set(re.findall(r"--nfacct-name +(\S+)", self.recording)):
            nfacct.ensure_counter(counter)

    def left(self) -> str:
        """Return what differs from its rules in the kernel, "" for nothing.

        The order of jumps may: while there are connections to localhost, KUBE-FIREWALL stays, and
        what comes back later comes before its jump.
        """
        rules = self.recording.partition("## sysctl")[0]
        there = self._node.namespaces["node"].run(self._mode.dump)
        found = differences(rules, there)
        return "\n".join(each for each in found if ": order differs" not in each)


def _as_kube_proxy_writes(tables: str) -> tuple[str, list[tuple[str, str]]]:
    """Return its own chains, which are replaced, and jumps with their tables, added if missing."""
    jumps = []
    kept = []
    table = ""
    for line in restorable(tables).splitlines():
        if line.startswith("*"):
            table = line[1:]
        if line.startswith("-A ") and not line.startswith("-A KUBE-"):
            jumps.append((table, line))
        elif not re.match(r":(?!KUBE-)", line):
            kept.append(line)
    return "\n".join(kept) + "\n", jumps


def _words(rule: str) -> list[str]:
    return [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', rule)]


class Kproxy:
    """The kproxy of the node, with its configuration file, and what a service manager does."""

    def __init__(self, node: RecordedNode, folder: Path) -> None:
        self._config = folder / "config.yaml"
        self._place = Place(node.namespaces["node"], node.names["node"], folder)
        self._running: Running | None = None

    def configure(self, mode: Mode) -> None:
        layout = f"nftablesLayout: {mode.layout}\n" if mode.name == "nftables" else ""
        text = f"{(CASE / 'config.yaml').read_text()}mode: {mode.name}\n"
        self._config.write_text(text)
        self._flags = [f"--nftables-layout={mode.layout}"] if layout else []

    def start(self) -> Running:
        self._running = self._place.start(
            f"--config={self._config}",
            f"--manifests={CASE / 'objects.yaml'}",
            "--hostname-override=node-0",
            *self._flags,
        )
        return self._running

    def once(self, *arguments: str) -> None:
        ended = self._place.once(*arguments)
        assert ended.returncode == 0, ended.stderr

    def end(self) -> None:
        self._place.end()


@pytest.fixture
def kproxy(node: RecordedNode, tmp_path: Path) -> Iterator[Kproxy]:
    made = Kproxy(node, tmp_path)
    yield made
    made.end()


@pytest.mark.parametrize(("former", "mode"), PAIRS, ids=str)
def test_there_and_back_without_a_lost_connection(
    node: RecordedNode, kproxy: Kproxy, former: Mode, mode: Mode
) -> None:
    kube_proxy = KubeProxy(node, former)
    kube_proxy.start()
    assert kube_proxy.left() == ""
    with Traffic(node, localhost=former.name == "iptables") as traffic:
        _under_traffic(traffic, "kube-proxy is there")

        # Replace kube-proxy: it is stopped, its rules stay, and kproxy starts.
        kproxy.configure(mode)
        traffic.step = "kproxy starts"
        running = kproxy.start()
        if (former.name, former.variant) != (mode.name, mode.variant) and former.name != mode.name:
            running.says(f"{former.name} mode had left")
        _under_traffic(traffic, "kproxy is there")

        # Go back: kproxy is given kube-proxy's mode, which restarts it, and is stopped.
        if former != mode:
            traffic.step = "kproxy changes its mode"
            kproxy.configure(former)
            assert running.ended() == 1
            running = kproxy.start()
            if former.name != mode.name:
                running.says(f"{mode.name} mode had left")
            _under_traffic(traffic, "kproxy is there in the mode of kube-proxy")
        traffic.step = "kproxy stops"
        assert running.stop() == 0
        _under_traffic(traffic, "nothing is there but rules")
        traffic.step = "kube-proxy starts"
        kube_proxy.start()
        _under_traffic(traffic, "kube-proxy is there again")
    assert traffic.failures == {}
    assert kube_proxy.left() == ""


OF_NETWORK_PLUGIN = """
table ip of-network-plugin {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        ip saddr 10.244.0.0/16 ip daddr 192.0.2.0/24 masquerade
    }
}
"""


@pytest.mark.parametrize("other_nat", [False, True])
@pytest.mark.parametrize("mode", [IPTABLES[0], NFTABLES], ids=str)
def test_a_cleanup_on_the_way_back_is_noticed(
    node: RecordedNode, kproxy: Kproxy, mode: Mode, other_nat: bool
) -> None:
    """So docs/operating.md has it for good-byes only.

    Open connections survive if there is a chain for NAT of anybody else, as the kernel translates
    none after the last one is deleted.
    """
    kube_proxy = KubeProxy(node, mode)
    kube_proxy.start()
    if other_nat:
        node.tool("nft", "-f", "-", stdin=OF_NETWORK_PLUGIN)
    with Traffic(node, localhost=False) as traffic:
        kproxy.configure(mode)
        assert kproxy.start().stop() == 0
        _under_traffic(traffic, "nothing is there but rules")
        traffic.step = "cleanup"
        kproxy.once("--cleanup")
        until("a connection fails", lambda: bool(traffic.failures))
        kube_proxy.start()
        traffic.step = "kube-proxy starts"
        until("new connections", lambda: traffic.made["kube-proxy starts"] > 30)
    open_ones = [failure for failure in traffic.failures if ": open " in failure]
    assert not (other_nat and open_ones)


def _under_traffic(traffic: Traffic, step: str) -> None:
    """Wait until many connections were made in this step, and open ones asked."""
    traffic.step = step
    asked = traffic.asked
    until("traffic", lambda: traffic.made[step] > 30 and traffic.asked > asked + 20)
