"""The program nft prints rules and elements as kproxy says it does."""

from __future__ import annotations

import pytest
from kproxy_nftables import words

from kproxy.address import Family
from kproxy.kernel.netns import Namespace
from kproxy.kernel.nftables.listing import table_listing
from kproxy.kernel.nftables.objects import Rule, Table
from kproxy.kernel.nftables.session import Session
from kproxy.kernel.nftables.text import rule_text
from netns_tests.nftables.test_encoding import cidrs
from tests.kernel.test_nftables_text import FORMS, SETS

FAMILIES = pytest.mark.parametrize("family", Family, ids=lambda family: family.value)


def printed(family: Family, rules: list[Rule]) -> tuple[str, ...]:
    table = Table(family, "forms")
    chains = ("c", "check", "endpoint-0", "endpoint-1")
    with Namespace.create() as namespace, namespace.entered(), Session() as session:
        requests = [
            table.create(),
            *map(table.add_set, SETS.values()),
            table.add_counter("seen"),
            *map(table.add_chain, chains),
        ]
        for rule in rules:
            requests += table.add_rule("c", rule)
        session.commit(requests)
        return table_listing(family, "forms")["chain c"]


@FAMILIES
def test_every_form_of_a_rule(family: Family) -> None:
    forms = [(parts, text) for of, parts, text in FORMS if of is family]
    listed = printed(family, [Rule(tuple(parts)) for parts, _ in forms])
    assert listed == tuple(text for _, text in forms)


@FAMILIES
def test_ranges(family: Family) -> None:
    rules = [
        Rule((*match(family, cidrs(seed, family)), words.drop()))
        for seed in range(150)
        for match in (words.saddr_outside, words.daddr_within)
    ]
    assert printed(family, rules) == tuple(rule_text(family, rule, {}) for rule in rules)
