"""Rules as iptables-save prints them tell what leads to a chain."""

from __future__ import annotations

import pytest

from kproxy.kernel.leading import leading_to, target
from kproxy.kernel.xtables import parse_save


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("-j KUBE-SEP-A", "KUBE-SEP-A"),
        ("-s 10.0.0.1/32 -g KUBE-SEP-A", "KUBE-SEP-A"),
        ('-m comment --comment "not to -j OTHER" -j KUBE-SEP-A', "KUBE-SEP-A"),
        (r'-m comment --comment "a \" -j OTHER" -j KUBE-SEP-A', "KUBE-SEP-A"),
        ('-j LOG --log-prefix "to -j KUBE-SEP-A"', "LOG"),
        ("-p tcp -m tcp -j DNAT --to-destination 10.0.0.1:80", "DNAT"),
        ("-s 10.0.0.1/32", ""),
        ("", ""),
    ],
)
def test_the_target_of_a_rule(rule: str, expected: str) -> None:
    assert target(rule) == expected


def test_all_that_leads_to_a_chain_is_found() -> None:
    saved = parse_save(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:MINE - [0:0]\n:KUBE-SEP-A - [0:0]\n:KUBE-SEP-B - [0:0]\n"
        '-A PREROUTING -m comment --comment "see -j KUBE-SEP-B" -g KUBE-SEP-A\n'
        "-A MINE\n-A MINE -j KUBE-SEP-A\nCOMMIT\n"
    )
    assert leading_to(saved["nat"], ["KUBE-SEP-A", "KUBE-SEP-B"]) == {
        "KUBE-SEP-A": [
            ("PREROUTING", '-m comment --comment "see -j KUBE-SEP-B" -g KUBE-SEP-A'),
            ("MINE", "-j KUBE-SEP-A"),
        ]
    }
