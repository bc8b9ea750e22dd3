"""Makes the tables of docs/semantics.md and docs/modes.md from the oracle. Run as a module to renew
both pages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import structs

from kproxy.forwarding.plan import Plan
from kproxy.upgrade.modes import COLUMNS, ROWS
from tests.forwarding.plans import (
    CLUSTER_CIDR,
    NODES,
    POD_LINKS,
    Web,
    node_cidr,
    plan,
    plans_for,
    primary,
    settings,
)
from tests.forwarding.wording import ask

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"(<!-- table: ([a-z-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)

CLIENTS = ("outside", "pod-a", "node-a", "pod-b", "node-b", "pod-c", "node-c")
MODES = ("iptables", "ipvs", "nftables")
ON_PRIMARY = ("nftables", "userspace")  # whose default of nodePortAddresses is [primary]
INSIDE = tuple(client for client in CLIENTS if client != "outside")


def renewed(page: str) -> str:
    """Return `page` with the contents of every table block made again."""
    return _BLOCK.sub(lambda found: found[1] + TABLES[found[2]]() + found[4], page)


def node_port() -> str:
    columns = {policy: plans_for(Web(external=policy)) for policy in ("Cluster", "Local")}
    return _table(
        ("client", "asks", *columns),
        (
            (_client(client), f"{node}:nodePort", *_asked(columns, client, f"{node}:30080"))
            for client in CLIENTS
            for node in NODES
        ),
    )


def cluster_ip() -> str:
    columns = {policy: plans_for(Web(internal=policy)) for policy in ("Cluster", "Local")}
    return _table(
        ("client", *columns),
        ((_client(client), *_asked(columns, client, "cluster-ip:80")) for client in CLIENTS),
    )


def load_balancer() -> str:
    ranges = ("203.0.113.0/24",)
    columns = {
        "Cluster": plans_for(Web()),
        "Local": plans_for(Web(external="Local")),
        "Cluster, only outside allowed": plans_for(Web(source_ranges=ranges)),
    }
    return _table(
        ("client", *columns),
        ((_client(client), *_asked(columns, client, "vip:80")) for client in CLIENTS),
    )


def no_endpoints() -> str:
    plans = plans_for(Web(on=()))
    asks = {
        "cluster IP": "cluster-ip:80",
        "node port of node-a": "node-a:30080",
        "external or load balancer IP": "vip:80",
    }
    return _table(
        ("client", *asks),
        (
            (_client(client), *(ask(plans, client, address) for address in asks.values()))
            for client in CLIENTS
        ),
    )


def detectors() -> str:
    columns = {
        "ClusterCIDR": plans_for(Web(external="Local"), detector=CLUSTER_CIDR),
        "NodeCIDR": {
            node: plan([Web(external="Local")], settings(node, detector=node_cidr(number)))
            for number, node in enumerate(NODES, start=1)
        },
        "bridge or prefix": plans_for(Web(external="Local"), detector=POD_LINKS),
        "none": plans_for(Web(external="Local"), detector=None),
    }
    addresses = {"node-a:nodePort": "node-a:30080", "cluster IP": "cluster-ip:80"}
    return _table(
        ("client", "asks", *columns),
        (
            (_client(client), name, *_asked(columns, client, address))
            for name, address in addresses.items()
            for client in INSIDE
        ),
    )


def localhost() -> str:
    def plans(localhost: bool, *cidrs: str) -> dict[str, Plan]:
        return {
            node: plan(
                [Web()],
                settings(node, localhost_node_ports=localhost, node_port_addresses=cidrs),
            )
            for node in NODES
        }

    columns = {
        "default": plans(True),
        "localhostNodePorts: false": plans(False),
        "nodePortAddresses: 192.168.0.0/24": plans(False, "192.168.0.0/24"),
    }
    questions = (
        ("node-a", "127.0.0.1:nodePort"),
        ("node-a", "node-a:nodePort"),
        ("outside", "node-a:nodePort"),
        ("outside", "gw-a:nodePort"),
        ("pod-a", "gw-a:nodePort"),
    )
    return _table(
        ("client", "asks", *columns),
        (
            (_client(client), asks, *_asked(columns, client, asks.replace("nodePort", "30080")))
            for client, asks in questions
        ),
    )


def host_network() -> str:
    columns = {
        policy: plans_for(Web(on=("node-a",), external=policy)) for policy in ("Cluster", "Local")
    }
    questions = (
        ("outside", "node-a:30080", "node-a:nodePort"),
        ("outside", "node-b:30080", "node-b:nodePort"),
        ("pod-b", "node-a:30080", "node-a:nodePort"),
        ("pod-a", "cluster-ip:80", "cluster IP"),
        ("node-a", "cluster-ip:80", "cluster IP"),
        ("node-b", "cluster-ip:80", "cluster IP"),
    )
    return _table(
        ("client", "asks", *columns),
        (
            (_client(client), name, *_asked(columns, client, asks))
            for client, asks, name in questions
        ),
    )


def differences() -> str:
    """Return the questions whose answer depends on the mode, with the defaults of each."""
    rows = [(*question, *answers) for question, answers in _answers(MODES) if len({*answers}) > 1]
    return _table(("policies; endpoints", "client", "asks", *MODES), rows)


def userspace() -> str:
    """Return the questions whose answer in userspace mode differs by more than the source seen."""
    modes = ("nftables", "userspace")
    rows = [
        (*question, *answers)
        for question, answers in _answers(modes)
        if len({re.sub(r" sees \S+", "", answer) for answer in answers}) > 1
    ]
    return _table(("policies; endpoints", "client", "asks", *modes), rows)


def _answers(modes: Sequence[str]) -> Iterator[tuple[tuple[str, str, str], list[str]]]:
    """Yield many a question, with the answer in each mode."""
    local = Web(external="Local", internal="Local")
    situations = {
        "Cluster; pod-b": Web(),
        "Local; pod-b": local,
        "Local; pod-a, pod-b": structs.replace(local, on=("pod-a", "pod-b")),
        "Cluster; no endpoint": Web(on=()),
        "only outside allowed; no endpoint": Web(on=(), source_ranges=("203.0.113.0/24",)),
    }
    asks = {
        "cluster IP": "cluster-ip:80",
        "127.0.0.1:nodePort": "127.0.0.1:30080",
        "node-a:nodePort": "node-a:30080",
        "gw-a:nodePort": "gw-a:30080",
        "load balancer IP": "vip:80",
        "load balancer IP, another port": "vip:81",
        "cluster IP, another port": "cluster-ip:81",
    }
    elsewhere_the_same = {
        "127.0.0.1:nodePort",
        "gw-a:nodePort",
        "load balancer IP, another port",
        "cluster IP, another port",
    }
    for situation, web in situations.items():
        for name, address in asks.items():
            for client in ("outside", "pod-a", "node-a", "pod-b", "node-c"):
                if name.startswith("127") and client not in NODES:
                    continue
                if name in elsewhere_the_same and situation != "Cluster; pod-b":
                    continue
                question = (situation, _client(client), name)
                yield question, [_in_mode(mode, web, client, address) for mode in modes]


def summary() -> str:
    """Return the differences that `upgrade-check` names."""
    rows = [(what, *(words[mode] for mode in COLUMNS)) for what, (words, _) in ROWS.items()]
    return _table(("", *COLUMNS), rows)


PAGES: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "semantics.md": {
        "node-port": node_port,
        "cluster-ip": cluster_ip,
        "load-balancer": load_balancer,
        "no-endpoints": no_endpoints,
        "detectors": detectors,
        "localhost": localhost,
        "host-network": host_network,
    },
    "modes.md": {"summary": summary, "differences": differences, "userspace": userspace},
}
TABLES = {name: make for tables in PAGES.values() for name, make in tables.items()}


def _asked(columns: Mapping[str, Mapping[str, Plan]], client: str, asks: str) -> list[str]:
    return [ask(plans, client, asks) for plans in columns.values()]


def _in_mode(mode: str, web: Web, client: str, asks: str) -> str:
    plans = {
        node: plan(
            [web],
            settings(node, node_port_addresses=(primary(node),) if mode in ON_PRIMARY else ()),
        )
        for node in NODES
    }
    return ask(plans, client, asks, mode=mode)


def _client(name: str) -> str:
    return f"process@{name}" if name in NODES else name


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    for name in PAGES:
        (DOCS / name).write_text(renewed((DOCS / name).read_text()))
