"""Rules of others, and of old proxies, that lead to chains that `kproxy run` no longer needs."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from netns_tests.run.running import Place, until

Text = Callable[..., str]
VARIANTS = ["nft", "legacy"]

# As kube-proxy 1.23 leaves it: later versions know nothing of KUBE-XLB chains.
OLD_PROXY = """\
*nat
:KUBE-MARK-MASQ - [0:0]
:KUBE-MARK-DROP - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-XLB-AAAAAAAAAAAAAAAA - [0:0]
:KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]
:KUBE-SEP-AAAAAAAAAAAAAAAA - [0:0]
:KUBE-FW-AAAAAAAAAAAAAAAA - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000
-A KUBE-SERVICES -d 10.96.0.99/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-AAAAAAAAAAAAAAAA
-A KUBE-SERVICES -d 203.0.113.99/32 -p tcp -m tcp --dport 80 -j KUBE-FW-AAAAAAAAAAAAAAAA
-A KUBE-FW-AAAAAAAAAAAAAAAA -j KUBE-XLB-AAAAAAAAAAAAAAAA
-A KUBE-FW-AAAAAAAAAAAAAAAA -j KUBE-MARK-DROP
-A KUBE-XLB-AAAAAAAAAAAAAAAA -j KUBE-SVC-AAAAAAAAAAAAAAAA
-A KUBE-SVC-AAAAAAAAAAAAAAAA -j KUBE-SEP-AAAAAAAAAAAAAAAA
-A KUBE-SEP-AAAAAAAAAAAAAAAA -p tcp -m tcp -j DNAT --to-destination 10.244.9.9:80
COMMIT
"""
HOLD = "-A KUBE-XLB-CDGGSHYLG3RE2FKL -j {chain}"


def saved(place: Place, variant: str) -> str:
    return place.tool(f"iptables-{variant}-save", "-t", "nat")


def hold_endpoint(place: Place, variant: str) -> str:
    """Have a rule lead to the chain of the endpoint 10.244.1.5, and return the chain."""
    pattern = r"-A (KUBE-SEP-\w+) .*--to-destination 10\.244\.1\.5:8080"
    found = re.search(pattern, saved(place, variant))
    assert found
    command = (f"iptables-{variant}", "-t", "nat")
    place.tool(*command, "-N", "KUBE-XLB-CDGGSHYLG3RE2FKL")
    place.tool(*command, *HOLD.format(chain=found[1]).split())
    return found[1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_all_changes_reach_the_kernel_and_the_holder_is_named_once(
    place: Place, service: Text, variant: str
) -> None:
    place.write("web.yaml", service("web", "10.96.0.1"))
    running = place.start("--manifests", str(place.folder), f"--iptables-variant={variant}")
    chain = hold_endpoint(place, variant)
    moved = service("web", "10.96.0.1").replace("10.244.1.5", "10.244.1.9")
    place.write("web.yaml", f"{moved}---{service('other', '10.96.0.20')}")
    until("the new Service", lambda: "10.96.0.20" in saved(place, variant))
    assert "10.244.1.9" in saved(place, variant)
    place.write("web.yaml", service("third", "10.96.0.30"))
    until("the next change", lambda: "10.96.0.30" in saved(place, variant))
    rules = saved(place, variant)
    assert "10.96.0.20" not in rules
    assert f"-A {chain} " not in rules
    running.says(f"{chain} cannot be removed yet: KUBE-XLB-CDGGSHYLG3RE2FKL leads to it")
    running.stop()
    assert running.log.count(chain) == 2  # the chain, and in the command that frees it
    assert "sync failed" not in running.log
    assert "changed by another process" not in running.log


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_start_over_an_old_proxy(place: Place, service: Text, variant: str) -> None:
    rules = place.folder / "rules"
    rules.write_text(OLD_PROXY)
    place.tool(f"iptables-{variant}-restore", str(rules))
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    done = place.once("--once", "--manifests", str(path), f"--iptables-variant={variant}")
    assert done.returncode == 0
    said = "KUBE-SVC-AAAAAAAAAAAAAAAA cannot be removed yet: KUBE-XLB-AAAAAAAAAAAAAAAA leads to it"
    assert said in done.stderr
    after = saved(place, variant)
    assert '-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES' in after
    assert set(re.findall(r"^:(KUBE-\S*AAAA) ", after, re.MULTILINE)) == {
        "KUBE-SVC-AAAAAAAAAAAAAAAA",
        "KUBE-XLB-AAAAAAAAAAAAAAAA",
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_cleanup_names_each_chain_and_its_holder(place: Place, service: Text, variant: str) -> None:
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    place.once("--once", "--manifests", str(path), f"--iptables-variant={variant}")
    chain = hold_endpoint(place, variant)
    done = place.once("--cleanup")
    assert done.returncode == 1
    assert f"nat {chain} was emptied but not deleted: KUBE-XLB-CDGGSHYLG3RE2FKL" in done.stderr
    command = f"iptables-{variant} -t nat {HOLD.format(chain=chain).replace('-A ', '-D ', 1)}"
    assert command in done.stderr
    place.tool(*command.split())
    assert place.once("--cleanup").returncode == 0
    assert chain not in saved(place, variant)


@pytest.mark.parametrize("variant", VARIANTS)
def test_another_mode_names_each_chain_and_its_holder(
    place: Place, service: Text, variant: str
) -> None:
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    place.once("--once", "--manifests", str(path), f"--iptables-variant={variant}")
    chain = hold_endpoint(place, variant)
    done = place.once("--once", "--manifests", str(path), "--proxy-mode=nftables")
    assert done.returncode == 1
    assert f"nat {chain} was emptied but not deleted: KUBE-XLB-CDGGSHYLG3RE2FKL" in done.stderr
    assert "10.96.0.1" in place.tool("nft", "list", "table", "ip", "kube-proxy")
    assert re.findall(r"-A (\S+)", saved(place, variant)) == ["KUBE-XLB-CDGGSHYLG3RE2FKL"]
