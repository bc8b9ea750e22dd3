"""kproxy's own backends keep the contract, in every variant."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from kproxy.address import Family
from kproxy.backend import load
from kproxy.kernel.process import run
from kproxy.kernel.xtables import Variant, Xtables
from kproxy.testing.backend_contract import (
    BackendContract,
    Subject,
    namespace_state,
    unprivileged,
)

TOOLS = {Family.IPV4: "ip", Family.IPV6: "ip6"}
SYSTEM_CHAINS = (":PREROUTING", ":INPUT", ":FORWARD", ":OUTPUT", ":POSTROUTING")


def nft_foreign() -> None:
    for family in TOOLS.values():
        run(["nft", f"add table {family} mine; add chain {family} mine services"])


def flush_nft(family: Family) -> None:
    run(["nft", f"flush table {TOOLS[family]} kube-proxy"])


@pytest.mark.parametrize("layout", ["kube-proxy", "flat"])
class TestNftables(BackendContract):
    @pytest.fixture
    def subject(self, layout: str) -> Subject:
        mode = load("nftables")
        return Subject(
            mode=mode,
            options=mode.options_with(nftables_layout=layout),
            foreign=nft_foreign,
            sabotage=flush_nft,
            refuse=unprivileged,
            refused_options={"nftablesLayout": "round"},
        )


class Iptables:
    """How the tables of one variant are looked at, and harmed."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant

    def look(self) -> Mapping[str, object]:
        """Tables and chains of the system come into being by being used; they hold nothing."""
        found: dict[str, object] = {
            name: text for name, text in namespace_state().items() if not name.startswith("nft ")
        }
        for command in ("iptables", "ip6tables"):
            saved = run([f"{command}-{self.variant}-save"]).splitlines()
            found[command] = [
                line.split(" [")[0]
                for line in saved
                if not line.startswith(("#", "*", "COMMIT", *SYSTEM_CHAINS))
            ]
        return found

    def foreign(self) -> None:
        for family in Family:
            Xtables(family, self.variant).restore(
                ["*nat\n:MINE - [0:0]\n-A MINE -j RETURN\n-A PREROUTING -j MINE\nCOMMIT\n"]
            )

    def sabotage(self, family: Family) -> None:
        Xtables(family, self.variant).restore(["*nat\n-F\nCOMMIT\n"])


@pytest.mark.parametrize("variant", ["nft", "legacy"])
class TestIptables(BackendContract):
    @pytest.fixture
    def subject(self, variant: Variant) -> Subject:
        tables = Iptables(variant)
        mode = load("iptables")
        return Subject(
            mode=mode,
            options=mode.options_with(iptables_variant=variant),
            look=tables.look,
            foreign=tables.foreign,
            sabotage=tables.sabotage,
            refuse=unprivileged,
            refused_options={"iptablesVariant": "old"},
        )
