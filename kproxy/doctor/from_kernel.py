"""Reads the facts about one host from its kernel: the calling thread is in its namespace. Nothing
is changed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any, TypeVar, get_args

from kproxy.address import Family
from kproxy.api.addresses import parse_cidr, parse_ip
from kproxy.backend import (
    Backend,
    BackendOptions,
    Mode,
    Predecessor,
    Uses,
    complete_options,
    load,
    sound_modes,
)
from kproxy.config import ProxyConfig
from kproxy.doctor.facts import (
    BaseChain,
    Conntrack,
    HostFacts,
    HostKind,
    InForce,
    LinkFacts,
    Listener,
    RuleTable,
)
from kproxy.doctor.finding import Missing, Part
from kproxy.doctor.network import (
    BRIDGE_NETFILTER,
    IP_FORWARD,
    IPV6_OFF,
    reverse_path_setting,
)
from kproxy.errors import KernelRefused, KproxyError, Unsupported
from kproxy.kernel import legacy_tables, sysctl
from kproxy.kernel.addresses import addresses_of, all_addresses
from kproxy.kernel.iptables_programs import Variant
from kproxy.kernel.iptables_programs import name as program_of
from kproxy.kernel.listening import listening
from kproxy.kernel.netlink import NETLINK_ROUTE, Netlink
from kproxy.kernel.nftables.session import Session, TableReader
from kproxy.kernel.ownership import is_claimed
from kproxy.kernel.process import run
from kproxy.kernel.rtnetlink import links_of
from kproxy.proxy.setup import close, family_support

_PROMISCUOUS = 0x100  # IFF_PROMISC
_TABLES = ("raw", "mangle", "nat", "filter")
_KUBE_PROXY = "kube-proxy"  # its process; the table of nftables that is its and ours
_NO_SUCCESSOR = Uses(mode="")
_NET = Path("/proc/thread-self/net")
_CHAIN = re.compile(r"^:(\S+) (\S+)")
_VERDICTS = ("drop", "reject", "accept", "dnat", "redirect", "masquerade", "snat")
_T = TypeVar("_T")


class KernelReader:
    """Reads hosts, and notes what could not be read."""

    def __init__(self, config: ProxyConfig | None = None, mode: str | None = None) -> None:
        """`config` and `mode` are those of the proxies, if they are known; else those modes count
        whose rules are found.
        """
        self._config = config or ProxyConfig()
        self._mode = mode
        self.missing: list[Missing] = []

    def node(self, name: str) -> HostFacts:
        """Return what there is to know of a node."""
        links = self._of(Part.KERNEL, name, _links)
        settings = self._of(Part.KERNEL, name, lambda: _settings(links or ()))
        in_force = self._of(Part.PROXIES, name, lambda: tuple(self._in_force()))
        modes = {self._mode} if self._mode else {each.mode for each in in_force or ()}
        return HostFacts(
            name=name,
            kind=HostKind.NODE,
            addresses=self._of(Part.KERNEL, name, lambda: frozenset(all_addresses())),
            links=links,
            settings=settings,
            conntrack=self._of(Part.KERNEL, name, _conntrack),
            reverse_path_drops=self._of(Part.KERNEL, name, _reverse_path_drops),
            tables=self._of(Part.RULES, name, lambda: tuple(_iptables())),
            base_chains=self._of(Part.RULES, name, lambda: tuple(_base_chains())),
            in_force=in_force,
            running=self._of(Part.PROXIES, name, lambda: tuple(_running())),
            unsupported=self._of(Part.KERNEL, name, lambda: tuple(self._unsupported(modes))),
            listeners=self._of(Part.LISTENERS, name, _listeners),
        )

    def pod(self, name: str, node: str, nameservers: tuple[str, ...] | None) -> HostFacts:
        """Return what there is to know of a pod."""
        return HostFacts(
            name=name,
            kind=HostKind.POD,
            node=node,
            addresses=self._of(Part.LISTENERS, name, lambda: frozenset(all_addresses())),
            links=self._of(Part.LINKS_OF_PODS, name, _links),
            listeners=self._of(Part.LISTENERS, name, _listeners),
            nameservers=nameservers,
        )

    def _of(self, part: Part, where: str, read: Callable[[], _T]) -> _T | None:
        """Return what `read` returns; None if it fails, which is noted."""
        try:
            return read()
        except (KproxyError, OSError) as error:
            text = " ".join(str(error).split())
            self.missing.append(Missing(part, text, where))
            return None

    def _in_force(self) -> Iterator[InForce]:
        """Yield the modes that have anything here, by family and variant of iptables."""
        for mode in sound_modes():
            if mode.lacks_kernel():
                continue  # so it can have left nothing
            for family in Family:
                for variant in self._present(mode, family):
                    yield InForce(mode.name, family, variant)

    def _present(self, mode: Mode, family: Family) -> list[str]:
        """Return the variants of iptables that a mode has rules in; [""] if it is none's."""
        with _opened(mode, family, self._config, mode.options()) as backend:
            if not isinstance(backend, Predecessor):
                return [""] if any(backend.read().values()) else []
            if not backend.has_left(_NO_SUCCESSOR):
                return []
            if not backend.uses().variant:
                return [""]
        found = []
        for variant in mode.variants:
            options = mode.options_with(**{mode.variant_option: variant})
            with _opened(mode, family, self._config, options) as backend:
                assert isinstance(backend, Predecessor)
                own = backend.uses()
                if backend.has_left(own):  # so something is left in the other variant
                    found += [each for each in get_args(Variant) if each != own.variant]
        return found or [""]

    def _unsupported(self, modes: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yield what these modes lack here, and the remedy."""
        for mode, family in product(map(load, sorted(modes)), Family):
            with _opened(mode, family, self._config, mode.options()) as backend:
                support = family_support(family, backend)
                if not support.ok and "switched off" not in support.missing:
                    yield f"{mode.name} mode, {family.value}: {support.missing}", support.remedy


@contextmanager
def _opened(
    mode: Mode, family: Family, config: ProxyConfig, options: BackendOptions
) -> Iterator[Backend]:
    """Yield a backend of a mode, which is closed after the block."""
    backend = mode.backend(family, complete_options(mode, config, options))
    try:
        yield backend
    finally:
        close(backend)


def _links() -> tuple[LinkFacts, ...]:
    with Netlink(NETLINK_ROUTE) as netlink:
        found = links_of(netlink)
    names = {each.index: each.name for each in found}
    return tuple(
        LinkFacts(
            name=each.name,
            kind=each.kind,
            mtu=each.mtu,
            master=names.get(each.master, ""),
            hairpin=each.hairpin,
            promiscuous=bool(each.flags & _PROMISCUOUS),
            underlay=each.underlay,
            addresses=frozenset().union(*(addresses_of(each.name, family) for family in Family)),
        )
        for each in found
    )


def _settings(links: tuple[LinkFacts, ...]) -> Mapping[str, str]:
    names = [*IP_FORWARD.values(), *BRIDGE_NETFILTER.values(), IPV6_OFF]
    names += [reverse_path_setting(each) for each in ("all", *(link.name for link in links))]
    found = {}
    for name in names:
        with suppress(Unsupported):  # this kernel has none, or no more: a link was deleted
            found[name] = sysctl.read(name)
    return found


def _conntrack() -> Conntrack | None:
    try:
        return Conntrack(
            int(sysctl.read("net/netfilter/nf_conntrack_count")),
            int(sysctl.read("net/netfilter/nf_conntrack_max")),
        )
    except Unsupported:  # nothing here is tracked
        return None


def _reverse_path_drops() -> int:
    """Return the number of packets that the reverse path filter has dropped (IPv4 only)."""
    lines = (_NET / "netstat").read_text().splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        counters = dict(zip(names.split(), values.split(), strict=False))
        if "IPReversePathFilter" in counters:
            return int(counters["IPReversePathFilter"])
    return 0


def _iptables() -> Iterator[RuleTable]:
    """Yield the tables of iptables that exist. Tables that were never used are not created."""
    for family in Family:
        for variant in get_args(Variant):
            used = _used_tables(family, variant)
            if not used:
                continue
            command = f"{program_of(family)}-{variant}-save"
            text = run([command])
            if "is incompatible" in text:
                raise KernelRefused(f"{command}: a table has rules of nft; see nft list ruleset")
            for name, chains, policies in _saved(text):
                if name in used:
                    yield RuleTable(
                        family=family,
                        variant=variant,
                        name=name,
                        command=command,
                        chains=chains,
                        policies=policies,
                    )


def _used_tables(family: Family, variant: str) -> list[str]:
    if variant == "legacy":
        return [each for each in legacy_tables.names(family) if each in _TABLES]
    try:
        with Session() as session:
            return [each for each in _TABLES if TableReader(session, family, each).exists()]
    except Unsupported:
        raise
    except KernelRefused:  # no nf_tables in this kernel
        return []


def _saved(text: str) -> Iterator[tuple[str, dict[str, tuple[str, ...]], dict[str, str]]]:
    """Yield the name, the chains and the policies of each table that iptables-save prints."""
    for part in re.split(r"^\*", text, flags=re.MULTILINE)[1:]:
        name, *lines = part.split("\n")
        rules: dict[str, list[str]] = {}
        policies = {}
        for line in lines:
            if found := _CHAIN.match(line):
                rules[found[1]] = []
                policies[found[1]] = found[2]
            elif line.startswith("-A "):
                chain, _, rule = line[3:].partition(" ")
                rules.setdefault(chain, []).append(rule)
        yield name, {chain: tuple(found) for chain, found in rules.items()}, policies


def _base_chains() -> Iterator[BaseChain]:
    """Yield the base chains of nftables that are no proxy's and not iptables'."""
    if not _has_nf_tables():
        return
    listed = _nft("list", "chains")
    tables = {
        (each["family"], each["table"])
        for each in listed
        if "hook" in each and not _is_iptables(each) and each["table"] != _KUBE_PROXY
    }
    for family, table in sorted(tables):
        if family in ("ip", "ip6", "inet"):
            yield from _chains_of(family, table)


def _has_nf_tables() -> bool:
    try:
        with Session() as session:
            return session.generation() > 1
    except Unsupported:
        raise
    except KernelRefused:
        return False


def _is_iptables(chain: Mapping[str, Any]) -> bool:
    """Tell whether iptables' nft variant has made a base chain: names of its own, in capitals."""
    known = chain["family"] in ("ip", "ip6") and chain["table"] in (*_TABLES, "security")
    return known and str(chain["name"]).isupper()


def _nft(*words: str, kind: str = "chain") -> list[dict[str, Any]]:
    found = json.loads(run(["nft", "-j", *words]))
    return [each[kind] for each in found["nftables"] if kind in each]


def _chains_of(family: str, table: str) -> Iterator[BaseChain]:
    words = ("-t", "list", "table", family, table)
    chains = {each["name"]: each for each in _nft(*words)}
    rules: dict[str, list[list[Any]]] = {}
    for each in _nft(*words, kind="rule"):
        rules.setdefault(each["chain"], []).append(each["expr"])
    saved = {name: tuple(map(_as_saved, rules.get(name, ()))) for name in chains}
    for name, chain in chains.items():
        if "hook" in chain and not _is_iptables(chain):
            yield BaseChain(
                family=family,
                table=table,
                name=name,
                type=chain["type"],
                hook=chain["hook"],
                priority=int(chain["prio"]),
                policy=chain.get("policy", "accept"),
                rules=tuple(_verdicts(name, rules, ())),
                saved=saved,
            )


def _verdicts(
    chain: str, rules: Mapping[str, list[list[Any]]], above: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    """Yield the verdicts of a chain and of those that it leads to, with the text of the rule."""
    for expressions in rules.get(chain, ()):
        for each in expressions:
            ((kind, value),) = each.items()
            if kind in _VERDICTS:
                yield kind, f"{chain}: {_text(expressions)}"
            elif kind in ("jump", "goto") and value["target"] not in (*above, chain):
                yield from _verdicts(value["target"], rules, (*above, chain))


def _as_saved(expressions: list[Any]) -> str:
    """Return a rule as iptables-save would print it, as far as checks read that."""
    words = []
    for each in expressions:
        ((kind, value),) = each.items()
        if kind == "match":
            words.append(_condition(value))
        elif kind in ("jump", "goto"):
            words.append(f"-j {value['target']}")
        elif kind in _VERDICTS or kind == "return":
            words.append(f"-j {kind.upper()}")
        elif kind != "counter":
            words.append("--nft")
    return " ".join(words)


def _condition(match: Mapping[str, Any]) -> str:
    """Return a match of addresses as an option of iptables, `--nft` for any other."""
    option = {"saddr": "-s", "daddr": "-d"}.get(match["left"].get("payload", {}).get("field", ""))
    value = _short(match["right"])
    if option is None or match["op"] not in ("==", "!=") or not _is_range(value):
        return "--nft"
    return f"{'! ' if match['op'] == '!=' else ''}{option} {value}"


def _is_range(text: str) -> bool:
    """Tell whether it is an address or a CIDR; sets and intervals are none."""
    return bool(parse_cidr(text) or parse_ip(text))


def _text(expressions: list[Any]) -> str:
    """Return a rule as short text: matches as `left op right`, then what it does."""
    words = []
    for each in expressions:
        ((kind, value),) = each.items()
        if kind == "match":
            words.append(f"{_short(value['left'])} {value['op']} {_short(value['right'])}")
        elif kind != "counter":
            words.append(kind if value is None else f"{kind} {_short(value)}")
    return " ".join(words)


def _short(value: Any) -> str:
    match value:
        case {"payload": {"protocol": protocol, "field": field}}:
            return f"{protocol} {field}"
        case {"meta": {"key": key}} | {"ct": {"key": key}}:
            return str(key)
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case str() | int():
            return str(value)
    return json.dumps(value)


def _running() -> Iterator[str]:
    """Yield the proxies at work in this namespace, as far as their processes can be seen."""
    if is_claimed():
        yield "kproxy"
    here = os.stat("/proc/thread-self/ns/net")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text() != f"{_KUBE_PROXY}\n":
                continue
            if os.path.samestat(os.stat(process / "ns/net"), here):
                yield f"{_KUBE_PROXY} (process {process.name})"
        except OSError:  # it has ended, or belongs to somebody else
            continue


def _listeners() -> frozenset[Listener]:
    return frozenset(Listener(*each) for each in listening())
