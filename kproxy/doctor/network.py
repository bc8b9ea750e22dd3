"""Checks of a node's network: forwarding, bridges, reverse path, tunnels, connection tracking."""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.address import Family, family_of
from kproxy.api.addresses import parse_cidr, parse_ip
from kproxy.config.node import pod_cidrs
from kproxy.doctor.facts import Facts, HostFacts, HostKind, LinkFacts, listed
from kproxy.doctor.finding import Finding, Severity, Sureness

IP_FORWARD = {
    Family.IPV4: "net/ipv4/ip_forward",
    Family.IPV6: "net/ipv6/conf/all/forwarding",
}
BRIDGE_NETFILTER = {
    Family.IPV4: "net/bridge/bridge-nf-call-iptables",
    Family.IPV6: "net/bridge/bridge-nf-call-ip6tables",
}
IPV6_OFF = "net/ipv6/conf/all/disable_ipv6"
_OVERHEAD = {Family.IPV4: 50, Family.IPV6: 70}  # Ethernet, IP, UDP and VXLAN headers (RFC 7348)
_NEARLY, _FULL = 0.8, 0.95


def reverse_path_setting(link: str) -> str:
    """Return the setting that filters by reverse path; `link` may be `all`."""
    return f"net/ipv4/conf/{link.replace('.', '/')}/rp_filter"


def forwarding_off(facts: Facts) -> Iterator[Finding]:
    """Find nodes that do not forward packets between their links."""
    for host in facts.nodes:
        for family, setting in IP_FORWARD.items():
            if host.setting(setting) != "0" or not _uses(facts, host, family):
                continue
            yield _of_setting(
                host,
                "forwarding-off",
                Severity.ERROR,
                setting,
                "1",
                "so it drops what pods send to other hosts, and what is sent to its pods",
            )


def bridge_netfilter_off(facts: Facts) -> Iterator[Finding]:
    """Find bridges of pods whose packets pass the rules of no proxy."""
    if facts.forwards_itself:  # answers come from the proxy's own socket, through the bridge
        return
    for host in facts.nodes:
        for bridge, ports, sure in _pod_bridges(facts, host):
            for family, setting in BRIDGE_NETFILTER.items():
                own = {each for each in bridge.addresses if family_of(each) is family}
                if not own or host.settings is None or host.setting(setting) == "1":
                    continue
                value = host.setting(setting)
                seen = f"{_sysctl(setting)} = {value}" if value else "br_netfilter is not loaded"
                load = () if value else ("$ modprobe br_netfilter",)
                yield Finding(
                    id="bridge-netfilter-off",
                    severity=Severity.WARNING,
                    host=host.name,
                    evidence=(
                        f"{seen}; {bridge.name} has the ports {listed(ports)}",
                        (
                            "a pod's answer to another pod of this bridge is not translated back:"
                            " through a Service, they do not reach each other"
                        ),
                    ),
                    remedy=(*load, f"$ sysctl -w {_sysctl(setting)}=1"),
                    sure=sure,
                )
                break


def hairpin(facts: Facts) -> Iterator[Finding]:
    """Find bridges that do not send a packet back by the port it came in by."""
    if facts.forwards_itself:
        return
    for host in facts.nodes:
        if "1" not in {host.setting(each) for each in BRIDGE_NETFILTER.values()}:
            continue  # a translated packet leaves by the node's own end of the bridge then
        for bridge, ports, sure in _pod_bridges(facts, host):
            stubborn = [
                each.name for each in host.links or () if each.name in ports and not each.hairpin
            ]
            if not stubborn or bridge.promiscuous:
                continue
            yield Finding(
                id="hairpin",
                severity=Severity.WARNING,
                host=host.name,
                evidence=(
                    f"hairpin mode is off on {listed(stubborn)} of {bridge.name} (bridge -d link)",
                    (
                        "a pod there that is chosen for its own connection to a Service does not"
                        " reach itself"
                    ),
                ),
                remedy=(
                    *(f"$ bridge link set dev {each} hairpin on" for each in stubborn),
                    (
                        "for new pods: hairpinMode: true of the CNI plugin bridge, or hairpinMode"
                        " of the kubelet"
                    ),
                ),
                sure=sure,
            )


def reverse_path(facts: Facts) -> Iterator[Finding]:
    """Find nodes whose strict reverse path filter has dropped packets."""
    for host in facts.nodes:
        if not host.reverse_path_drops:
            continue
        scopes = ["all", *(each.name for each in host.links or ())]
        values = {each: host.setting(reverse_path_setting(each)) for each in scopes}
        strict = [each for each, value in values.items() if value == "1"]
        if not strict:
            continue
        yield Finding(
            id="reverse-path",
            severity=Severity.WARNING,
            host=host.name,
            evidence=(
                (
                    f"IPReversePathFilter is {host.reverse_path_drops} (nstat -az): so many packets"
                    " came in by a link that the way back would not use, and were dropped"
                ),
                f"rp_filter is 1 (strict) for {listed(strict)}",
            ),
            remedy=(
                (
                    "let the route to the source lead to the link it comes by (ip route get), or"
                    " filter loosely:"
                ),
                *(f"$ sysctl -w {_sysctl(reverse_path_setting(each))}=2" for each in strict),
            ),
            sure=Sureness.LIKELY,  # the counter does not say when
        )


def tunnel_mtu(facts: Facts) -> Iterator[Finding]:
    """Find tunnels whose packets do not fit the link below."""
    for host in facts.nodes:
        for tunnel in host.links or ():
            below = [
                each
                for each in host.links or ()
                if tunnel.underlay and tunnel.underlay in each.addresses
            ]
            if not below:
                continue
            most = below[0].mtu - _OVERHEAD[family_of(tunnel.underlay)]
            if tunnel.mtu > most:
                yield Finding(
                    id="tunnel-mtu",
                    severity=Severity.ERROR,
                    host=host.name,
                    evidence=(
                        (
                            f"{tunnel.name} ({tunnel.kind}) has MTU {tunnel.mtu}, but"
                            f" {below[0].name} below it {below[0].mtu}: with headers only {most}"
                            " fit (ip -d link)"
                        ),
                        "small packets arrive, large ones do not: connections stand, then hang",
                    ),
                    remedy=(
                        f"$ ip link set {tunnel.name} mtu {most}",
                        "and the MTU of the network plug-in",
                    ),
                )


def pod_mtu(facts: Facts) -> Iterator[Finding]:
    """Find pods whose packets do not fit the tunnel of their node."""
    tunnels = {
        host.name: each for host in facts.nodes for each in host.links or () if each.underlay
    }
    for host in facts.hosts:
        way = tunnels.get(host.node)
        if host.kind is not HostKind.POD or way is None:
            continue
        for each in host.links or ():
            if each.name != "lo" and each.mtu > way.mtu:
                yield Finding(
                    id="pod-mtu",
                    severity=Severity.WARNING,
                    host=host.name,
                    evidence=(
                        (
                            f"{each.name} has MTU {each.mtu}, but {way.name} of {host.node}"
                            f" {way.mtu} (ip link)"
                        ),
                        (
                            "large packets to other nodes need path MTU discovery, which firewalls"
                            " break"
                        ),
                    ),
                    remedy=(
                        f"$ ip link set {each.name} mtu {way.mtu}",
                        "and the MTU of the CNI plug-in, for new pods",
                    ),
                )


def conntrack_full(facts: Facts) -> Iterator[Finding]:
    """Find nodes whose connection tracking table is full, or nearly."""
    for host in facts.nodes:
        if host.conntrack is None or not host.conntrack.most:
            continue
        count, most = host.conntrack
        if count < _NEARLY * most:
            continue
        full = count >= _FULL * most
        yield Finding(
            id="conntrack-full",
            severity=Severity.ERROR if full else Severity.WARNING,
            host=host.name,
            evidence=(
                (
                    f"net.netfilter.nf_conntrack_count = {count} of nf_conntrack_max = {most}"
                    f" ({100 * count // most}%)"
                ),
                "new connections are dropped when it is full, of all protocols",
            ),
            remedy=(
                f"$ sysctl -w net.netfilter.nf_conntrack_max={2 * most}",
                "conntrack.maxPerCore and conntrack.min of the proxy's configuration set it, too",
                "find who makes so many: conntrack -L -o extended",
            ),
        )


def _of_setting(
    host: HostFacts, name: str, severity: Severity, setting: str, wanted: str, effect: str
) -> Finding:
    seen = f"{_sysctl(setting)} = {host.setting(setting)}"
    return Finding(
        id=name,
        severity=severity,
        host=host.name,
        evidence=(seen, effect),
        remedy=(
            f"$ sysctl -w {_sysctl(setting)}={wanted}",
            "and in /etc/sysctl.d for the next start",
        ),
    )


def _uses(facts: Facts, host: HostFacts, family: Family) -> bool:
    """Tell whether a node has addresses of a family that others can ask, as far as is known."""
    if family is Family.IPV4:
        return True
    return any(
        family_of(each) is family and (ip := parse_ip(each)) and not ip.is_link_local
        for each in (host.addresses or frozenset()) - {"::1"}
    ) and any(family.value in each.spec.ip_families for each in facts.services)


def _pod_bridges(facts: Facts, host: HostFacts) -> Iterator[tuple[LinkFacts, list[str], Sureness]]:
    """Yield the bridges of a node's pods with their ports.

    They have an address of the node's pod CIDRs; if those are not known, any bridge may be one.
    """
    node = facts.store.node(host.name)
    networks = [network for each in pod_cidrs(node) if (network := parse_cidr(each))]
    for bridge in host.links or ():
        if bridge.kind != "bridge":
            continue
        ports = [each.name for each in host.links or () if each.master == bridge.name]
        own = [ip for each in bridge.addresses if (ip := parse_ip(each))]
        within = any(ip in network for ip in own for network in networks)
        if ports and (within or not networks):
            yield bridge, ports, Sureness.LIKELY if within else Sureness.POSSIBLE


def _sysctl(setting: str) -> str:
    """Return a setting's name as sysctl(8) takes it, with slashes if a link's name has dots."""
    return setting.replace("/", ".") if "." not in setting else setting
