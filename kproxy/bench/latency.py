"""Connection setup of one size: `python -m kproxy.bench.latency SIZE` prints a result as JSON.

It measures connect() of a client whose packets a node forwards to a server, through three nodes in
turn, so that other load of the machine affects all three:

- direct: no rules; the client asks an endpoint
- plain: one DNAT rule, from the addresses of all Services to one endpoint
- service: the rules of a proxy

The last two are asked for the same addresses, because a client is slower with a new address than
with a known one, whatever the rules.

A handshake needs no other process: the kernel handles all its packets within connect(), on one CPU.
"""

from __future__ import annotations

import gc
import itertools
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from random import Random

from kproxy.address import Family
from kproxy.bench.cluster import (
    CLUSTER_IPS,
    ENDPOINT_PORT,
    SERVICE_PORT,
    cluster_ip,
    endpoint_address,
    objects,
)
from kproxy.bench.line import Address, Line, line
from kproxy.bench.results import LatencyResult, LatencySize, p99
from kproxy.bench.subject import new_proxy
from kproxy.kernel.measurement import answer
from kproxy.kernel.process import run
from kproxy.kernel.running import on_uml
from kproxy.kernel.xtables import Xtables

_WARM_UP = 200  # connections through each node that are not counted
_AT_ONCE = 100  # sockets of each client that are created in advance

_PLAIN_NFT = f"""
table ip nat {{
    chain prerouting {{
        type nat hook prerouting priority dstnat;
        ip daddr {CLUSTER_IPS} tcp dport {SERVICE_PORT} \
            dnat to {endpoint_address(0)}:{ENDPOINT_PORT}
    }}
}}
"""
_PLAIN_IPTABLES = f"""*nat
-A PREROUTING -d {CLUSTER_IPS} -p tcp --dport {SERVICE_PORT} \
-j DNAT --to-destination {endpoint_address(0)}:{ENDPOINT_PORT}
COMMIT
"""


def measure(size: LatencySize) -> LatencyResult:
    """Measure in this process, which should be a new one. Raises KproxyError."""
    with ExitStack() as stack:
        direct, plain, service = lines = [stack.enter_context(line()) for _ in range(3)]
        with plain.node.entered():
            plain_rule = _write_plain_rule()
        with service.node.entered():
            _, proxy = new_proxy(size, objects(size.services, size.endpoints))
            proxy.sync()
        gc.collect()
        gc.disable()
        _measure(lines, asked(size.services, size.asked, _WARM_UP))
        times = _measure(lines, asked(size.services, size.asked, size.connections))
    return LatencyResult(
        size=size,
        user_mode_linux=on_uml(),
        plain_rule=plain_rule,
        direct_median_us=statistics.median(times[direct]),
        direct_p99_us=p99(times[direct]),
        plain_median_us=(plain_median := statistics.median(times[plain])),
        plain_p99_us=p99(times[plain]),
        service_median_us=(service_median := statistics.median(times[service])),
        service_p99_us=p99(times[service]),
        ratio=service_median / plain_median,
    )


def asked(services: int, different: int, connections: int) -> list[int]:
    """Return the number of the Service for each connection, in a random but fixed order.

    There are `different` ones, spread evenly from the first to the last; a single one is the first.
    """
    different = min(different, services, connections)
    gaps = max(1, different - 1)
    spread = [round(index * (services - 1) / gaps) for index in range(different)]
    numbers = list(itertools.islice(itertools.cycle(spread), connections))
    Random(0).shuffle(numbers)
    return numbers


def _measure(lines: Sequence[Line], services: Sequence[int]) -> dict[Line, list[float]]:
    """Return the microseconds of each line (direct, plain, service), asked in changing order."""
    times: dict[Line, list[float]] = {each: [] for each in lines}
    direct = (endpoint_address(0), ENDPOINT_PORT)
    orders = itertools.cycle(itertools.permutations(range(len(lines))))
    for start in range(0, len(services), _AT_ONCE):
        batch = services[start : start + _AT_ONCE]
        sockets = [each.sockets(len(batch)) for each in lines]
        for number in batch:
            service = (cluster_ip(number), SERVICE_PORT)
            targets: list[Address] = [direct, service, service]
            for index in next(orders):
                taken = lines[index].connect_ns(sockets[index].pop(), targets[index])
                times[lines[index]].append(taken / 1e3)
    return times


def _write_plain_rule() -> str:
    """Write the rule and return its tool. User-mode Linux has no NAT in nf_tables."""
    if on_uml():
        Xtables(Family.IPV4, "legacy").restore([_PLAIN_IPTABLES])
        return "iptables-legacy"
    run(["nft", "-f", "-"], _PLAIN_NFT)
    return "nftables"


if __name__ == "__main__":
    answer(measure, LatencySize)
