"""kproxy's own backends keep the contract, in every variant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import pytest
from kproxy_iptables.rules import service_chain_names

from kproxy.address import Family
from kproxy.backend import Plan, load
from kproxy.kernel.iptables_programs import Variant
from kproxy.kernel.ipvs import Batch, Ipvs
from kproxy.kernel.leading import target
from kproxy.kernel.process import run
from kproxy.kernel.xtables import Xtables
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


@contextmanager
def damaged(variant: Variant, _family: Family, before: Plan, after: Plan) -> Iterator[None]:
    """Another program has deleted a rule of a Service that is about to be removed.

    The kernel notices in the middle: when it has the new rules of table filter, and some of nat.
    """
    tables = Xtables(before.family, variant)
    removed = {
        chain
        for name, service in before.services.items()
        if name not in after.services
        for chain in service_chain_names(service)
    }
    number, rule = next(
        (number, rule)
        for number, rule in enumerate(tables.save("nat")["KUBE-SERVICES"], 1)
        if target(rule) in removed
    )
    tables.restore([f"*nat\n-D KUBE-SERVICES {number}\nCOMMIT\n"])
    yield
    tables.restore([f"*nat\n-I KUBE-SERVICES {number} {rule}\nCOMMIT\n"])


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
            refuse=partial(damaged, variant),
            refused_options={"iptablesVariant": "old"},
        )


def foreign_addresses() -> None:
    """None that is to answer node ports: that would be a change of the node."""
    run(["ip", "address", "add", "127.0.0.9/32", "dev", "lo"])
    run(["ip", "route", "add", "local", "fd00:9::9", "dev", "lo"])


def lose_an_address(family: Family) -> None:
    """One of those that userspace mode has put there: they are deprecated."""
    shown = ["address", "show", "dev", "lo", "deprecated"]
    first, *_ = run(["ip", f"-{family.value[-1]}", "-oneline", *shown]).splitlines()
    run(["ip", "address", "del", first.split()[3], "dev", "lo"])


class TestUserspace(BackendContract):
    """It forwards itself: a dead one is a process that was killed."""

    @pytest.fixture
    def subject(self) -> Subject:
        return Subject(
            mode=load("userspace"),
            foreign=foreign_addresses,
            sabotage=lose_an_address,
            refuse=unprivileged,
            refused_options={"maxConnections": 0, "udpIdleTimeout": "-1s"},
        )


def flush_servers(family: Family) -> None:
    """The virtual servers of one family; `ipvsadm --clear` would delete those of both."""
    with Ipvs() as ipvs:
        batch = Batch()
        for server in ipvs.virtual_servers(family):
            batch.delete(server)
        ipvs.apply(batch)


@pytest.mark.ipvs
class TestIpvs(BackendContract):
    """All virtual servers count as the mode's own, so what is foreign are rules and sets.

    Settings stay: whoever else forwards here needs ip_forward as well.
    """

    @pytest.fixture
    def subject(self) -> Subject:
        tables = Iptables("legacy")
        mode = load("ipvs")

        def look() -> Mapping[str, object]:
            return {name: what for name, what in tables.look().items() if "net/" not in name}

        def foreign() -> None:
            tables.foreign()
            run(["ipset", "create", "MINE", "hash:ip"])

        return Subject(
            mode=mode,
            options=mode.options_with(iptables_variant="legacy"),
            look=look,
            foreign=foreign,
            sabotage=flush_servers,
            refuse=unprivileged,
            refused_options={"iptablesVariant": "old", "ipvsLocalFallback": "perhaps"},
            edits=10,  # the kernel with ip_vs may be a slow one
        )
