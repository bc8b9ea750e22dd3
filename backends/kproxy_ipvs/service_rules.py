"""The rules, entries and servers of one Service, in the order that a packet meets them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kproxy.backend import (
    BadInput,
    FrontendKind,
    ListedRule,
    Listing,
    Purpose,
    RuleLine,
    Sought,
    bracketed,
    host_port,
    purposes,
)
from kproxy.backend.masquerade import HOOK, MARKED, MASQUERADE_PURPOSES
from kproxy.backend.saved_walk import SavedWalk
from kproxy.kernel.iptables_save import Table
from kproxy_ipvs.names import CHAINS, DEVICE, SETS, set_name, spare_name
from kproxy_ipvs.reading import LETTERS, PACKETS

# A packet passes PREROUTING or OUTPUT of nat; then IPVS takes it, behind filter INPUT or OUTPUT.
_BEFORE: tuple[tuple[Table, str], ...] = (
    ("nat", "PREROUTING"),
    ("nat", "OUTPUT"),
    ("filter", "INPUT"),
    ("filter", "OUTPUT"),
)
_AFTER: tuple[tuple[Table, str], ...] = (("filter", "FORWARD"), ("nat", "POSTROUTING"))
_OURS = {name for _, name in CHAINS}
_MATCHED = re.compile(r"--match-set (\S+)")
_FROM_VIP = re.compile(r"--vaddr (\S+) --vport (\d+)")

PURPOSES = (
    Purpose(HOOK, "-j KUBE-SERVICES", "looks whether the packet is for a Service"),
    Purpose(HOOK, "-j KUBE-NODE-PORT", "lets health checks of load balancers in"),
    Purpose(HOOK, "-j KUBE-PROXY-FIREWALL", "looks whether source ranges forbid the packet"),
    Purpose(HOOK, "-j KUBE-IPVS-FILTER", "protects other ports of the node at these addresses"),
    Purpose(HOOK, "-j KUBE-IPVS-OUT-FILTER", "looks at answers of the node to itself"),
    Purpose("KUBE-SERVICES", "-j RETURN", "leaves loopback traffic alone"),
    Purpose("KUBE-SERVICES", "-j KUBE-LOAD-BALANCER", "takes packets to load balancer addresses"),
    Purpose("KUBE-SERVICES", "CLUSTER-IP.*-j KUBE-MARK-MASQ", MARKED + ": not from a local pod"),
    Purpose("KUBE-SERVICES", "EXTERNAL-IP.*-j KUBE-MARK-MASQ", MARKED + ": an external IP"),
    Purpose("KUBE-SERVICES", "EXTERNAL-IP.*-j ACCEPT", "lets packets to an external IP pass"),
    Purpose("KUBE-SERVICES", "-j KUBE-NODE-PORT", "tries node ports, if the address is the node's"),
    Purpose("KUBE-SERVICES", "-j ACCEPT", "done here: IPVS takes the packet"),
    Purpose("KUBE-LOAD-BALANCER", "-j RETURN", "keeps the source: the policy is Local"),
    Purpose("KUBE-LOAD-BALANCER", "", MARKED + ": the policy is Cluster"),
    Purpose("KUBE-NODE-PORT", "-j RETURN", "keeps the source: the policy is Local"),
    Purpose("KUBE-NODE-PORT", "-j ACCEPT", "lets the health checks of this Service in"),
    Purpose("KUBE-NODE-PORT", "", MARKED + ": the policy is Cluster"),
    Purpose("KUBE-PROXY-FIREWALL", "", "finds addresses with source ranges"),
    Purpose("KUBE-SOURCE-RANGES-FIREWALL", "-j RETURN", "lets a source range pass"),
    Purpose("KUBE-SOURCE-RANGES-FIREWALL", "", "drops all other sources"),
    Purpose("KUBE-IPVS-FILTER", "-j RETURN", "lets the packet through to the virtual server"),
    Purpose("KUBE-IPVS-FILTER", "-j REJECT", "refuses other ports of these addresses"),
    Purpose("KUBE-IPVS-OUT-FILTER", "", "drops what the node sends itself against source ranges"),
    Purpose("KUBE-POSTROUTING", "LOOP-BACK", "an endpoint that reaches itself gets another source"),
)
ENTRIES = (
    Purpose(".*LOOP-BACK", "", "an endpoint on this node, reached by itself"),
    Purpose(".*SOURCE-(IP|CIDR?)", "", "a source that may come in"),
    Purpose(".*NODE-PORT.*", "", "the Service's node port"),
    Purpose(".*", "", "the Service's entry"),
)
_purpose = purposes((*PURPOSES, *MASQUERADE_PURPOSES))
_entry_purpose = purposes(ENTRIES)


def service_rules(listing: Listing, sought: Sought) -> list[RuleLine]:
    """Return the rules whose sets have entries of the Service, each followed by these; its
    addresses on the device; and its virtual servers with their real ones. See `Mode.service_rules`.
    """
    if sought.plans is None:
        raise BadInput(
            ["ipvs mode does not name Services in the kernel"],
            remedy="give the Service's objects with --manifests",
        )
    entries = _entries(listing, sought)
    servers = _server_names(sought)

    def owns(_table: str, _chain: str, rule: str) -> bool | None:
        if matched := _MATCHED.search(rule):
            return matched[1] in entries
        if answer := _FROM_VIP.search(rule):
            return host_port(answer[1], int(answer[2])) in servers
        return None

    def beneath(rule: str, depth: int) -> Iterator[RuleLine]:
        if not (matched := _MATCHED.search(rule)):
            return
        name = matched[1]
        for entry in entries.get(name, ()):
            yield RuleLine(
                table="ipset",
                chain=name,
                depth=depth,
                rule=entry.text,
                purpose=_entry_purpose(name, entry.text),
                packets=entry.packets,
            )

    walk = SavedWalk(listing, _OURS.__contains__, owns, _purpose, beneath)
    before = [line for table, chain in _BEFORE for line in walk.through(table, chain)]
    own = [*_addresses(listing, sought), *_servers(listing, sought)]
    after = [line for table, chain in _AFTER for line in walk.through(table, chain)]
    return [*before, *own, *after] if own or entries else []


def _server_names(sought: Sought) -> set[str]:
    return {
        host_port(frontend.address, frontend.port)
        for _, frontend in sought.frontends()
        if frontend.address
    }


def _entries(listing: Listing, sought: Sought) -> dict[str, list[ListedRule]]:
    """Return the entries of the Service by set, of those sets that have any."""
    found: dict[str, list[ListedRule]] = {}
    suffixes = {
        name(sought.family, suffix): suffix for name in (set_name, spare_name) for suffix in SETS
    }
    wanted = _Entries(sought)
    for name, entries in listing.get("ipset", {}).items():
        own = [each for each in entries if wanted.own(suffixes.get(name, ""), each.text)]
        if own:
            found[name] = own
    return found


class _Entries:
    """Tells which entries of sets are of a Service."""

    def __init__(self, sought: Sought) -> None:
        self._frontends = set()
        self._node_ports = set()
        self._addresses = set()
        for plan, frontend in sought.frontends():
            protocol = plan.protocol.lower()
            if frontend.kind is FrontendKind.NODE_PORT:
                self._node_ports.add((protocol, str(frontend.port)))
            else:
                self._frontends.add(f"{frontend.address},{protocol}:{frontend.port}")
                self._addresses.add(frontend.address)
        self._hairpins = {
            f"{each.address},{plan.protocol.lower()}:{each.port}"
            for plan in sought.plans or ()
            for each in plan.cached_local
        }
        self._health_checks = {str(plan.health_check_node_port) for plan in sought.plans or ()} - {
            "0"
        }

    def own(self, suffix: str, entry: str) -> bool:
        """Tell whether an entry of the set with this suffix, see `SETS`, is of the Service."""
        if suffix == "IPVS-IPS":
            return entry in self._addresses
        if suffix == "HEALTH-CHECK-NODE-PORT":
            return entry in self._health_checks
        start = ",".join(entry.split(",")[:2])
        if suffix == "LOOP-BACK":
            return start in self._hairpins
        if "NODE-PORT" in suffix:
            protocol, port = suffix.lower().removesuffix("-hash").rpartition("-")[2], entry
            if suffix.endswith("-HASH"):
                port = entry.rpartition(":")[2]
            return (protocol, port) in self._node_ports
        return start in self._frontends


def _addresses(listing: Listing, sought: Sought) -> Iterator[RuleLine]:
    wanted = {frontend.address for _, frontend in sought.frontends()}
    for address in listing.get("addresses", {}).get(DEVICE, ()):
        if address.text in wanted:
            yield RuleLine(
                table="addresses",
                chain=DEVICE,
                depth=0,
                rule=address.text,
                purpose="makes this node take packets to the address for its own",
            )


def _servers(listing: Listing, sought: Sought) -> Iterator[RuleLine]:
    counted = {each.text: each.packets for each in listing.get(PACKETS, {}).get("ipvs", ())}
    for line, real_servers in listing.get("ipvs", {}).items():
        if not _is_of(line, sought):
            continue
        yield RuleLine(
            table="ipvs",
            chain="virtual servers",
            depth=0,
            rule=line,
            purpose=_scheduling(line, len(real_servers)),
            packets=counted.get(line),
        )
        for real in real_servers:
            yield RuleLine(
                table="ipvs",
                chain="real servers",
                depth=1,
                rule=real.text,
                purpose=_receiving(real.text),
                packets=real.packets,
            )


def _is_of(line: str, sought: Sought) -> bool:
    """Tell whether a virtual server is of the Service, also at an address for node ports."""
    given, place = line.split()[1:3]
    for plan, frontend in sought.frontends():
        if given != LETTERS[plan.protocol]:
            continue
        if frontend.kind is FrontendKind.NODE_PORT:
            if place.rpartition(":")[2] == str(frontend.port) and not _is_vip(place, sought):
                return True
        elif place == host_port(frontend.address, frontend.port):
            return True
    return False


def _is_vip(place: str, sought: Sought) -> bool:
    """Tell whether a virtual server is at an address of the Service, not at one of the node."""
    own = {bracketed(frontend.address) for _, frontend in sought.frontends() if frontend.address}
    return place.rpartition(":")[0] in own


def _scheduling(line: str, count: int) -> str:
    if not count:
        return "refuses: there is no real server"
    kept = ", the same for a client" if " -p " in line else ""
    return f"takes the connection and chooses a real server{kept}"


def _receiving(real: str) -> str:
    if "-w 0" in real:
        return "gets no new connections any more"
    return "an endpoint: gets connections by its weight"
