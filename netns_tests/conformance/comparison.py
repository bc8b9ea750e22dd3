"""Compares two dumps of a service proxy's kernel state by what they mean.

Order counts inside a chain. It does not among chains, sets, elements, virtual servers, addresses;
nor in a dispatch chain between neighbours for different services, as a packet matches one of them;
nor where all rules do the same to packets of different addresses, and name no service.

Where versions of a tool print the same state in different words, one form counts (`in_one_form`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

# The kernel of the recording did not have this setting: elsewhere it may have any value.
NO_SUCH_SETTING = ("",)

# The name of an item -> its lines, in an order that matters (or was made canonical).
State = dict[str, tuple[str, ...]]

DISPATCH_CHAINS = {
    "KUBE-SERVICES",
    "KUBE-NODEPORTS",
    "KUBE-EXTERNAL-SERVICES",
    "KUBE-PROXY-FIREWALL",
    "KUBE-NODE-PORT",
    "KUBE-SOURCE-RANGES-FIREWALL",
}

# One DROP for each load balancer VIP that may not be asked from here, in kube-proxy's random order.
UNORDERED_CHAINS = {"KUBE-IPVS-OUT-FILTER"}

_COMMENT = re.compile(r'--comment (?:"([^"]*)"|(\S+))')
# Words of nft(8) for the priorities of hooks. Version 1.0 does not use all of them in each hook: it
# prints `-110` for an output hook where 1.1 prints `dstnat - 10`.
_PRIORITIES = {
    "raw": -300,
    "mangle": -150,
    "dstnat": -100,
    "filter": 0,
    "security": 50,
    "srcnat": 100,
}
_HOOK = re.compile(
    rf"(type \w+ hook \w+ priority )({'|'.join(_PRIORITIES)})(?: ([+-]) (\d+))?(;.*)"
)
_NFT_TABLE = re.compile(r"(table \S+ \S+) \{")
_NFT_OBJECT = re.compile(r"\t((?:chain|set|map) \S+) \{")
_NFT_ELEMENTS = re.compile(r"elements = \{(.*)\}")
_COMMA_OUTSIDE_QUOTES = re.compile(r',\s*(?=(?:[^"]*"[^"]*")*[^"]*$)')


def differences(expected: str, actual: str) -> list[str]:
    """Return one entry for each item that only one dump has, or that differs between them."""
    left, right = parse(expected), parse(actual)
    return [
        f"{name}: {_difference(left.get(name), right.get(name))}"
        for name in sorted(left.keys() | right.keys())
        if left.get(name) != right.get(name)
        and not (left.get(name) == NO_SUCH_SETTING and right.get(name))
    ]


def _difference(expected: tuple[str, ...] | None, actual: tuple[str, ...] | None) -> str:
    if expected is None or actual is None:
        word, lines = ("extra", actual) if expected is None else ("missing", expected)
        return "\n    ".join([word, *(lines or ())])
    lost = [f"- {line}" for line in expected if line not in actual]
    added = [f"+ {line}" for line in actual if line not in expected]
    if not lost + added:
        return "\n    ".join(["order differs; now", *actual])
    return "\n    ".join(["differs", *lost, *added])


def parse(dump: str) -> State:
    """Return a dump's state: sections `## NAME` of iptables-save lines or facts; nft tables."""
    state: State = {}
    chains: dict[str, list[str]] = {}
    section = table = ""
    lines = iter(dump.splitlines())
    for line in lines:
        if line.startswith("## "):
            section, table = line.removeprefix("## "), ""
        elif opening := _NFT_TABLE.fullmatch(line):
            state |= _nft_table(opening[1], lines)
        elif line.startswith("*"):
            table = line
        elif table and line.startswith("-A "):
            name = f"{section} {table} {line.split()[1]}"
            chains.setdefault(name, []).append(" ".join(line.split()))
        elif section == "sysctl":
            setting, _, value = line.partition(" = ")
            state[f"{section} {setting}"] = (value,)
        elif line:
            state[" ".join(filter(None, (section, table, line)))] = ()
    for name, rules in chains.items():
        chain = name.rpartition(" ")[2]
        if chain in UNORDERED_CHAINS:
            rules = sorted(rules)
        state[name] = (
            _without_order_of_services(rules) if chain in DISPATCH_CHAINS else tuple(rules)
        )
    return state


def _without_order_of_services(rules: list[str]) -> tuple[str, ...]:
    """Return rules with neighbours sorted by the service they name; others keep their order."""
    canonical: list[str] = []
    for of_a_service, group in groupby(rules, lambda rule: bool(_service(rule))):
        neighbours = list(group)
        canonical += sorted(neighbours, key=_service) if of_a_service else neighbours
    return tuple(canonical)


def _service(rule: str) -> str:
    """Return the comment of a rule if it starts with a service's `namespace/name`, else ""."""
    found = _COMMENT.search(rule)
    comment = (found[1] or found[2]) if found else ""
    return comment if "/" in comment.partition(" ")[0] else ""


def _nft_table(name: str, lines: Iterator[str]) -> State:
    state: State = {name: ()}
    for line in lines:
        if line == "}":
            break
        if opening := _NFT_OBJECT.fullmatch(line):
            state |= _nft_object(f"{name} {opening[1]}", lines)
        elif line:
            state[f"{name} {line.strip()}"] = ()
    return state


def in_one_form(line: str) -> str:
    """Return a line of a chain, map or set in the same words for all versions of nft."""
    if not (hook := _HOOK.fullmatch(line)):
        return line
    start, word, sign, distance, end = hook.groups()
    priority = _PRIORITIES[word] + int(f"{sign}{distance}" if sign else 0)
    return f"{start}{priority}{end}"


def _nft_object(name: str, lines: Iterator[str]) -> State:
    """Return a chain with its rules in order; a set or map with its head, and each element."""
    body: list[str] = []
    for line in lines:
        if line == "\t}":
            break
        body.append(in_one_form(line.strip()))
    elements = _NFT_ELEMENTS.search(" ".join(body))
    if not elements:
        return {name: tuple(body)}
    first = next(number for number, line in enumerate(body) if line.startswith("elements = "))
    each = _COMMA_OUTSIDE_QUOTES.split(elements[1].strip())
    return {name: tuple(body[:first])} | {f"{name} {' '.join(one.split())}": () for one in each}
