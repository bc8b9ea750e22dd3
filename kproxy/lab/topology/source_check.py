"""The provider's source/destination check of a port of the VPC: rules of the router."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

from kproxy.address import Family
from kproxy.lab.layout import Addresses
from kproxy.lab.topology.rules import Rules, comment


def check_sources(rules: Rules, port: str, owner: str, allowed: Sequence[Addresses]) -> None:
    """Add rules that drop what the host at a port sends from other addresses or CIDRs than
    `allowed`.

    `port` is the router's interface; `owner` names its host in the rules' comments.
    """
    chain = f"SOURCE-{port}"
    families = {family for addresses in allowed for family in addresses}
    for family in sorted(families, key=lambda family: family.value):
        rules.chain(family, "raw", chain)
        rules.add(family, "raw", f"PREROUTING -i {port} -j {chain}")
        sources = [addresses[family] for addresses in allowed]
        if family is Family.IPV6:  # for neighbour discovery
            sources += ["fe80::/10", "::/128"]
        for source in sources:
            rules.add(family, "raw", f"{chain} -s {ip_network(source)} -j RETURN")
        text = f"source/destination check of the port of {owner}"
        rules.add(family, "raw", f"{chain} {comment(text)} -j DROP")
