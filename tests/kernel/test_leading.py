"""Rules as iptables-save prints them tell what leads to a chain."""

from __future__ import annotations

import shlex

import pytest

from kproxy.kernel.iptables_save import parse_save
from kproxy.kernel.leading import for_shell, leading_to, target


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


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ('! -s 10.0.0.1/32 -m comment --comment "to web:http" -j A', None),
        (r'-m comment --comment "it\'s \"mine\" \\ too" -j A', 'it\'s "mine" \\ too'),
        ('-m comment --comment "5$ `id` now!" -j A', "5$ `id` now!"),
        ("-p tcp -m tcp --tcp-flags FIN,SYN SYN -m u32 --u32 0x0&0xff=0x6 -j A", "0x0&0xff=0x6"),
    ],
)
def test_a_rule_is_given_as_words_for_a_shell(rule: str, words: str | None) -> None:
    """`words`: one of them; None if the rule stays as it is."""
    if words is None:
        assert for_shell(rule) == rule
    else:
        assert words in shlex.split(for_shell(rule))
