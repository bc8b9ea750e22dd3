"""iptables rules that make a host a load balancer, or the gateway translate an address. Pure.

    nat     PREROUTING -> EDGE -> EDGE-TCP-80    a rule for each slot: every nth connection
    filter  INPUT -> EDGE                        rejects connections that no backend can take

Translation concerns the first packet of a connection: writing these rules again never disturbs an
existing one. Source addresses are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kproxy.address import Family
from kproxy.edge.annotations import BalancerClass
from kproxy.edge.listeners import Listener, ListenerBackend
from kproxy.kernel.hashing import eight_characters

TOP = "EDGE"
_UPLINK = "eth0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """A listener with the backends that it uses now: `slots` in order, used over and over."""

    listener: Listener
    slots: tuple[ListenerBackend, ...]


def chain_of(listener: Listener) -> str:
    """Return a chain's name, `EDGE-TCP-80`. A host has one listening address for each family."""
    return f"{TOP}-{listener.key.protocol}-{listener.key.port}"


def transaction(
    kind: BalancerClass,
    family: Family,
    shares: Sequence[Shares],
    before: Sequence[Shares] | None,
) -> list[str]:
    """Return lines for iptables-restore --noflush.

    `before`: the shares last written; None if none ever were. Chains of listeners that have not
    changed are kept, and with them the counters that tell which slot is next.
    """
    used = {chain_of(each.listener): each for each in shares if each.slots}
    former = {chain_of(each.listener): each for each in before or () if each.slots}
    fresh = {chain: each for chain, each in used.items() if former.get(chain) != each}
    stale = sorted(former.keys() - used.keys())
    lines = ["*nat\n", *(f":{chain} - [0:0]\n" for chain in (TOP, *fresh, *stale))]
    if before is None:
        lines.append(f"-A PREROUTING -j {TOP}\n")
    for chain, each in used.items():
        lines.append(f"-A {TOP} {_arrival(kind, each.listener)} -j {chain}\n")
    for chain, each in fresh.items():
        lines += [f"-A {chain} {rule}\n" for rule in slot_rules(each)]
    lines += [*(f"-X {chain}\n" for chain in stale), "COMMIT\n"]
    if kind is BalancerClass.DNAT:  # packets that it does not translate have no route there
        return lines
    lines += ["*filter\n", f":{TOP} - [0:0]\n"]
    if before is None:
        lines.append(f"-A INPUT -j {TOP}\n")
    lines += [f"-A {TOP} {_refusal(each.listener, family)}\n" for each in shares if not each.slots]
    return [*lines, "COMMIT\n"]


def slot_rules(shares: Shares) -> list[str]:
    """Return the rules of a listener's chain: first those of persistence, then the slots in turn.

    Persistence sends a source that has connected lately to the same backend.
    """
    listener, slots = shares.listener, shares.slots
    rules = []
    if listener.persistence_s:
        for backend in dict.fromkeys(slots):
            known = f"-m recent --name {_memory(listener, backend)}"
            known += f" --update --seconds {listener.persistence_s} --rsource"
            rules.append(_translation(listener, backend, known))
    for index, backend in enumerate(slots):
        left = len(slots) - index
        turn = f"-m statistic --mode nth --every {left} --packet 0" if left > 1 else ""
        if listener.persistence_s:
            turn += f" -m recent --name {_memory(listener, backend)} --set --rsource"
        rules.append(_translation(listener, backend, turn.strip()))
    return rules


def _arrival(kind: BalancerClass, listener: Listener) -> str:
    # The DNAT gateway translates packets from the internet only, not those from the inside.
    side = f"! -i {_UPLINK} " if kind is BalancerClass.DNAT else ""
    return (
        f"{side}-d {listener.address} -p {listener.key.protocol.lower()} "
        f'--dport {listener.key.port} -m comment --comment "{listener}"'
    )


def _translation(listener: Listener, backend: ListenerBackend, matches: str) -> str:
    protocol = listener.key.protocol.lower()
    told = f'-m comment --comment "{listener} on {backend.name}"'
    parts = (f"-p {protocol}", matches, told, f"-j DNAT --to-destination {backend}")
    return " ".join(part for part in parts if part)


def _refusal(listener: Listener, family: Family) -> str:
    how = "tcp-reset"
    if listener.key.protocol != "TCP":
        how = "icmp-port-unreachable" if family is Family.IPV4 else "icmp6-port-unreachable"
    return (
        f"-d {listener.address} -p {listener.key.protocol.lower()} --dport {listener.key.port} "
        f'-m comment --comment "{listener} has no healthy backend" -j REJECT --reject-with {how}'
    )


def _memory(listener: Listener, backend: ListenerBackend) -> str:
    """Return the name of the list of sources that keep a backend.

    The kernel keeps the list as long as rules name it.
    """
    return f"{chain_of(listener)}-{eight_characters(str(backend))}"
