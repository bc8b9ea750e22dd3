from __future__ import annotations

import pytest

from kproxy.config import Conntrack, Seconds
from kproxy.config.conntrack import conntrack_max, conntrack_sysctls

SIZES = [  # maxPerCore, min, CPUs -> size
    (32768, 131072, 2, 131072),
    (32768, 131072, 8, 262144),
    (0, 131072, 8, 0),
    (32768, 0, 1, 32768),
    (1048576, 131072, 2, 1048576),
    (1048577, 2000000, 1, 1048576),  # capped, although min is larger
    (100, 2000000, 1, 2000000),  # min is not capped
]


@pytest.mark.parametrize(("max_per_core", "least", "cpus", "size"), SIZES)
def test_table_size(max_per_core: int, least: int, cpus: int, size: int) -> None:
    assert conntrack_max(Conntrack(max_per_core=max_per_core, min=least), cpus) == size


def test_times_are_whole_seconds_and_zero_leaves_a_setting_as_it_is() -> None:
    assert conntrack_sysctls(Conntrack()) == [
        ("net/netfilter/nf_conntrack_tcp_timeout_established", "86400"),
        ("net/netfilter/nf_conntrack_tcp_timeout_close_wait", "3600"),
    ]
    assert conntrack_sysctls(
        Conntrack(
            tcp_established_timeout=Seconds(0),
            tcp_close_wait_timeout=Seconds(0.9),
            tcp_be_liberal=True,
            udp_timeout=Seconds(10.9),
            udp_stream_timeout=Seconds(120),
        )
    ) == [
        ("net/netfilter/nf_conntrack_tcp_be_liberal", "1"),
        ("net/netfilter/nf_conntrack_udp_timeout", "10"),
        ("net/netfilter/nf_conntrack_udp_timeout_stream", "120"),
    ]
