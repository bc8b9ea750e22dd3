"""A table as nft lists and reads it."""

from __future__ import annotations

from kproxy.address import Family
from kproxy.kernel.nftables.file import TableText, listed, replacing
from kproxy.kernel.nftables.objects import Hook, Set
from kproxy.kernel.nftables.types import PORT, PROTOCOL, VERDICT, address, concatenation

IP = address(Family.IPV4)
ELEMENTS = {
    "ips": ("10.0.0.1", "10.0.0.2", "10.0.0.3"),
    "ports": ("tcp . 80 : goto c", "udp . 53 : drop"),
}
TABLE = TableText(
    family=Family.IPV4,
    name="t",
    comment="a table",
    counters=("seen",),
    sets=(
        Set("ips", IP, comment="some"),
        Set("ports", concatenation(PROTOCOL, PORT), VERDICT),
        Set("known", IP, timeout_s=90061),
        Set("ranges", concatenation(IP, PORT), ranges=True),
    ),
    elements=lambda set_: ELEMENTS.get(set_.name, ()),
    chains={"base": ("jump c",), "c": ()},
    hooks={"base": Hook("nat", 4, 100)},
    chain_comments={"c": "empty"},
)
# With blanks for tabs.
TEXT = """\
table ip t {
    comment "a table"
    counter seen {
    }

    set ips {
        type ipv4_addr
        comment "some"
        elements = { 10.0.0.1, 10.0.0.2,
            ~10.0.0.3 }
    }

    map ports {
        type inet_proto . inet_service : verdict
        elements = { tcp . 80 : goto c,
            ~udp . 53 : drop }
    }

    set known {
        type ipv4_addr
        size 65535
        flags dynamic,timeout
        timeout 1d1h1m1s
    }

    set ranges {
        type ipv4_addr . inet_service
        flags interval
    }

    chain base {
        type nat hook postrouting priority srcnat; policy accept;
        jump c
    }

    chain c {
        comment "empty"
    }
}
""".replace("    ", "\t").replace("~", 5 * " ")


def test_listed() -> None:
    assert "".join(listed(TABLE)) == TEXT


def test_a_former_table_is_replaced() -> None:
    assert "".join(replacing(TABLE)) == "table ip t\ndelete table ip t\n" + TEXT
