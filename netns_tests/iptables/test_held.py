"""Rules of others lead to chains that are to be deleted: all else is done, and the chains stay
empty until nothing leads to them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from kproxy.address import Family
from kproxy.api.types import KubernetesObject
from kproxy.backend import held
from kproxy.errors import KernelRefused
from kproxy.kernel.leading import target
from kproxy.kernel.process import run
from kproxy.proxy import SyncFailed
from netns_tests.modes import IPTABLES, Mode
from netns_tests.node import Bench, bench, fresh_state
from tests.proxy.objects import endpoints, service

WEB = service("web", "10.96.0.1")
OTHER = service("other", "10.96.0.2")
BEFORE: list[KubernetesObject] = [WEB, endpoints("web", "10.244.0.5", "10.244.1.5")]
MOVED: list[KubernetesObject] = [
    WEB,
    endpoints("web", "10.244.0.9", "10.244.1.5"),
    OTHER,
    endpoints("other", "10.244.0.5"),
]
GONE: list[KubernetesObject] = [OTHER, endpoints("other", "10.244.0.5")]
HOLDERS = [  # rules of another program, in built-in chains or its own
    "-A HOLD -j {chain}",
    "-A HOLD -g {chain}",
    '-A PREROUTING -d 192.0.2.1/32 -m comment --comment "to -j HOLD" -j {chain}',
]
UNSEEN = "add rule ip nat HOLD ip saddr vmap {{ 192.0.2.1 : jump {chain} }}"  # by iptables-save


def chain_to(node: Bench, destination: str) -> str:
    """Return the chain that has the rule with this destination."""
    return next(
        chain
        for chain, rules in node.tables().save("nat").items()
        if any(f"--to-destination {destination}:" in rule for rule in rules)
    )


def hold(node: Bench, *rules: str) -> None:
    lines = "".join(f"{rule}\n" for rule in rules)
    node.tables().restore([f"*nat\n:HOLD - [0:0]\n{lines}COMMIT\n"])


def without_hold(node: Bench, *chains: str) -> dict[object, object]:
    """Return the state without what `hold` made, and without these chains."""
    names = ("HOLD", *chains)
    return {
        key: value
        for key, value in node.state().items()
        if not any(name in str(key) for name in names)
    }


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, "kproxy"):
        yield caplog


def warnings(messages: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in messages.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
@pytest.mark.parametrize("rule", HOLDERS)
def test_a_change_is_written_whatever_leads_to_a_chain_that_goes(
    mode: Mode, rule: str, messages: pytest.LogCaptureFixture
) -> None:
    with bench(mode) as node:
        node.sync(BEFORE)
        chain = chain_to(node, "10.244.0.5")
        hold(node, rule.format(chain=chain))
        node.sync(MOVED)
        saved = node.tables().save("nat")
        assert chain_to(node, "10.244.0.9") in saved
        assert any("-d 10.96.0.2/32" in each for each in saved["KUBE-SERVICES"])
        assert saved[chain] == []
        assert node.proxy.damaged() == ()
        node.sync(GONE)
        assert not any(
            "10.96.0.1/32" in each for each in node.tables().save("nat")["KUBE-SERVICES"]
        )
        (said,) = warnings(messages)
        assert f"IPv4: {chain} cannot be removed yet" in said
        assert rule.format(chain=chain).replace("-A ", "-D ", 1) in said
        where = rule.split()[1]
        node.tables().restore([f"*nat\n-F {where}\nCOMMIT\n"])
        node.proxy.sync(full=True)
        node.tables().restore(["*nat\n-X HOLD\nCOMMIT\n"])
        assert node.state() == fresh_state(mode, GONE)
        assert f"{chain} is removed" in messages.text


def test_what_iptables_does_not_show_is_found_by_trying(
    messages: pytest.LogCaptureFixture,
) -> None:
    (mode,) = (mode for mode in IPTABLES if mode.variant == "nft")
    with bench(mode) as node:
        node.sync(BEFORE)
        chain = chain_to(node, "10.244.0.5")
        hold(node)
        run(["nft", UNSEEN.format(chain=chain)])
        node.sync(GONE)
        assert node.tables().save("nat")[chain] == []
        (said,) = warnings(messages)
        assert f"{chain} cannot be removed yet" in said
        assert "nft list table ip nat" in said
        kept = {name for name in node.tables().save("nat") if name.startswith("KUBE-SEP-")}
        assert kept == {chain, chain_to(node, "10.244.0.5")}


def test_a_base_chain_of_the_name_of_ours_is_named_with_a_remedy() -> None:
    (mode,) = (mode for mode in IPTABLES if mode.variant == "nft")
    with bench(mode) as node:
        node.tables().save("filter")
        hook = "{ type filter hook forward priority 5; }"
        run(["nft", f"add table ip filter; add chain ip filter KUBE-FORWARD {hook}"])
        with pytest.raises(SyncFailed) as failure:
            node.sync(BEFORE)
        assert "KUBE-FORWARD is there as a base chain" in failure.value.remedy


def test_a_chain_that_goes_costs_no_transaction_of_its_own() -> None:
    """The number of the last commit of nf_tables counts them."""
    (mode,) = (mode for mode in IPTABLES if mode.variant == "nft")
    with bench(mode) as node:
        node.sync(BEFORE)
        chain = chain_to(node, "10.244.0.5")
        before = node.tables().generation()[0]
        node.sync([WEB, endpoints("web", "10.244.1.5")])
        assert node.tables().generation()[0] == before + 1
        assert chain not in node.tables().save("nat")


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
@pytest.mark.parametrize("comment", ["it's mine", 'a "b" c', "5$ `id`", "back\\slash"])
def test_the_command_that_the_log_gives_removes_the_rule(
    mode: Mode, comment: str, messages: pytest.LogCaptureFixture
) -> None:
    with bench(mode) as node:
        node.sync(BEFORE)
        chain = chain_to(node, "10.244.0.5")
        command = [f"iptables-{mode.variant}", "-t", "nat", "-A", "PREROUTING", "-m", "comment"]
        run([*command, "--comment", comment, "-j", chain])
        node.sync(MOVED)
        (said,) = warnings(messages)
        remedy = said.partition("to remove that: ")[2].partition("; it stays")[0]
        run(["bash", "-c", remedy])
        node.proxy.sync(full=True)
        assert chain not in node.tables().save("nat")


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
def test_it_is_tried_again_by_itself(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "RETRY_S", 0.0)
    with bench(mode) as node:
        node.sync(BEFORE)
        hold(node, f"-A HOLD -j {chain_to(node, '10.244.0.5')}")
        node.sync(GONE)
        assert node.proxy.again_at < float("inf")
        node.tables().restore(["*nat\n-F HOLD\n-X HOLD\nCOMMIT\n"])
        while node.proxy.again_at < float("inf"):
            node.proxy.sync()
        assert node.state() == fresh_state(mode, GONE)


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
def test_a_held_chain_can_be_needed_again(mode: Mode, messages: pytest.LogCaptureFixture) -> None:
    """And is no longer needed after that, in a single transaction this time."""
    with bench(mode) as node:
        node.sync(BEFORE)
        chain = chain_to(node, "10.244.0.5")
        hold(node, f"-A HOLD -j {chain}")
        for _ in range(2):
            node.sync(MOVED)
            assert node.tables().save("nat")[chain] == []
            node.sync(BEFORE)
            assert without_hold(node) == fresh_state(mode, BEFORE)
            assert node.proxy.again_at == float("inf")
        assert len(warnings(messages)) == 1


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
def test_a_start_over_leftovers_that_others_lead_to(
    mode: Mode, messages: pytest.LogCaptureFixture
) -> None:
    """One chain among many, as several proxies of the past may have left them."""
    with bench(mode) as former:
        old = [f"KUBE-{kind}-{number:0>16}" for kind in ("SVC", "SEP") for number in range(9)]
        lines = [f":{name} - [0:0]" for name in ("KUBE-XLB-A", *old)]
        lines += [f"-A {one} -j {other}" for one, other in zip(old[:9], old[9:], strict=True)]
        lines += [f"-A KUBE-XLB-A -j {old[0]}", f"-A PREROUTING -g {old[12]}"]
        former.tables().restore(["*nat\n", *(f"{line}\n" for line in lines), "COMMIT\n"])
        node = Bench(mode)
        node.sync(MOVED)
        saved = node.tables().save("nat")
        assert {name for name in saved if name in old} == {old[0], old[12]}
        assert saved[old[0]] == saved[old[12]] == []
        assert [target(each) for each in saved["OUTPUT"]] == ["KUBE-SERVICES"]
        assert node.proxy.damaged() == ()
        assert [said.split()[1] for said in warnings(messages)] == sorted([old[0], old[12]])


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
def test_cleanup_names_what_it_could_not_delete(mode: Mode) -> None:
    with bench(mode) as node:
        node.sync(BEFORE)
        chain = chain_to(node, "10.244.0.5")
        hold(node, f"-A HOLD -j {chain}", "-A HOLD -g KUBE-SERVICES")
        with pytest.raises(KernelRefused) as failure:
            node.backends[Family.IPV4].cleanup()
        for name in (chain, "KUBE-SERVICES"):
            assert f"nat {name} was emptied but not deleted: HOLD leads to it" in str(failure.value)
        kept = [name for name in node.tables().save("nat") if name.startswith("KUBE-")]
        assert sorted(kept) == sorted([chain, "KUBE-SERVICES"])
        assert node.tables().save("nat")["OUTPUT"] == []
        node.tables().restore(["*nat\n-F HOLD\n-X HOLD\nCOMMIT\n"])
        node.backends[Family.IPV4].cleanup()
        assert not [name for name in node.tables().save("nat") if name.startswith("KUBE-")]
