"""Rules as kproxy writes them, and others, for the tests of what writes them without a program."""

from __future__ import annotations

from kproxy.address import Family
from kproxy.kernel import ipset, nfacct
from kproxy.kernel.ipset_attributes import Shape

COUNTER = "kproxy_test"
SETS = ("KPROXY-A", "KPROXY-B")
ADDRESSES = {
    Family.IPV4: {"one": "10.244.1.5", "net": "10.128.0.0/9", "octets": "127.0.0.0/8"},
    Family.IPV6: {"one": "fd00:10:244::5", "net": "fd00:10:240::/42", "octets": "fd00:10::/32"},
}
ENDPOINT = {Family.IPV4: "10.244.1.5:8080", Family.IPV6: "[fd00:10:244::5]:8080"}
RULES = (  # at least every match and target that a part of kproxy writes, and each inverted one
    "",
    "-j LEAF",
    "-j ACCEPT",
    "-j DROP",
    "-j RETURN",
    "-m comment --comment short -j LEAF",
    '-m comment --comment "ns/name:port -j DROP; several words" -j LEAF',
    '-m comment --comment "no target at all"',
    "-m comment --comment \"as kube-proxy's ipvs mode: type 'hash ip:port'\" -j LEAF",
    f"-m comment --comment {'x' * 255}",
    "-s {one} -j LEAF",
    "! -s {one} -j LEAF",
    "-s {net} -j LEAF",
    "! -d {net} -j LEAF",
    "-d {octets} ! -s {octets} -j LEAF",
    "-i eth0 -j LEAF",
    "! -i cali+ -o eth1 -j LEAF",
    "-p tcp -j LEAF",
    "-m tcp -p tcp -j LEAF",
    "-m udp -p udp -j LEAF",
    "-m sctp -p sctp -j LEAF",
    "-m tcp -p tcp -d {one} --dport 80 -j LEAF",
    "-p udp --dport 53 -j LEAF",
    "-m udp -p udp ! --dport 53 ! -s {net} -j LEAF",
    "-m sctp -p sctp -d {one} --dport 65535 -j LEAF",
    "-m sctp -p sctp ! --dport 1 -j LEAF",
    "-m comment --comment c -m tcp -p tcp -d {one} --dport 443 -i eth0 -j LEAF",
    "-m mark --mark 0x00004000/0x00004000 -j ACCEPT",
    "-m mark ! --mark 0x4000/0x4000 -j RETURN",
    "-m mark --mark 7 -j RETURN",
    "-m conntrack --ctstate NEW -m comment --comment c -j LEAF",
    "-m conntrack --ctstate INVALID -j DROP",
    "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT,SNAT -j DROP",
    "-m addrtype --dst-type LOCAL -j LEAF",
    "-m addrtype --src-type LOCAL -j LEAF",
    "-m addrtype ! --src-type LOCAL -j LEAF",
    "-m addrtype ! --dst-type LOCAL -j LEAF",
    "-m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT",
    f"-m nfacct --nfacct-name {COUNTER} -j DROP",
    f"-m comment --comment c -m set --match-set {SETS[1]} dst,dst,src -j LEAF",
    f"-p tcp -m set --match-set {SETS[1]} dst -j LEAF",
    f"-m set ! --match-set {SETS[0]} src,dst ! -i eth0 -j LEAF",
    *(
        f"-m statistic --mode random --probability {share} -j LEAF"
        for share in ("0.5000000000", "0.3333333333", "0.0000152590", "1.0", "0")
    ),
    "-m recent --name LIST --rcheck --seconds 10800 --reap -j LEAF",
    "-m recent --name LIST --rcheck --seconds 1 -j LEAF",
    "-m comment --comment c -m recent --name LIST --set -m tcp -p tcp -j RETURN",
)
RULES_OF_IPVS = (  # for a kernel that has it
    *(
        f"-s {{one}} -m ipvs --vaddr {{one}} --vproto {protocol} --vport 443 -j LEAF"
        for protocol in ("tcp", "udp", "sctp", "17")
    ),
    "-m comment --comment c -m ipvs --vaddr {one} --vproto tcp --vport 65535",
)
FILTER_RULES = ("-j REJECT", "-m tcp -p tcp --dport 80 -j REJECT")
NAT_RULES = (
    "-j MARK --or-mark 0x00004000",
    "-j MARK --xor-mark 0x00004000",
    "-j MASQUERADE",
    "-m comment --comment c -j MASQUERADE --random-fully",
    "-m tcp -p tcp -j DNAT --to-destination {endpoint}",
    "-m comment --comment c -m udp -p udp -j DNAT --to-destination {endpoint}",
    "-m recent --name LIST --set -m sctp -p sctp -j DNAT --to-destination {endpoint}",
)
RAW_RULES = ("-j TRACE", "-m comment --comment kproxy-trace -j TRACE")
NOT_OURS = (  # matches, targets and words that others use, or that iptables refuses
    *("-j LOG", "-j SNAT", "-g LEAF", "! -j LEAF", "-j LEAF -j DROP", "-s {one} -j LEAF -j DROP"),
    *("-s {one} -s {one}", "-s {octets}.0", "-s {one}/255.0.0.0", "-s {one}/33", "-s name"),
    *("-p 6", "-p icmp", "-p tcp -p udp", "-m tcp -j DROP", "-m tcp -p udp -j DROP", "! -p tcp"),
    *("-p tcp --dport 1:2", "-p tcp --dport http", "-p tcp --dport 65536", "-p tcp --dport 010"),
    *("-i interface-of-16-b", "-i +", "-m comment", "-j", "-d", "!", "-m tcp -m udp -p udp"),
    "-m statistic --mode random --probability 1.5",
    "-m statistic --mode nth --every 2",
    f"-m comment --comment {'x' * 256}",
    r'-m comment --comment "a \" b" -j LEAF',
    '-m comment --comment "a -j LEAF',
    *("-m recent --name L --update", "-m mark --mark 0x100000000", "-m mark --mark 010"),
    *("-m addrtype --dst-type LOCAL --limit-iface-in", "-m conntrack --ctstate UNTRACKED"),
    *("-j MARK --set-mark 1", "-j MASQUERADE --to-ports 1", "-j REJECT --reject-with x"),
    *("-j DNAT --to-destination {one}", "-j DNAT --to-destination {one}:1-2", "-j DNAT"),
)


def create_objects(family: Family) -> None:
    """Create what the rules refer to."""
    nfacct.ensure_counter(COUNTER)
    ipset.create((name, Shape("hash:ip,port,ip", family, {})) for name in SETS)


def rules_of(family: Family, table: str) -> list[str]:
    # The program refuses to drop anything in nat.
    common = [rule for rule in RULES if table != "nat" or not rule.endswith("-j DROP")]
    rules = (*common, *{"filter": FILTER_RULES, "nat": NAT_RULES, "raw": RAW_RULES}[table])
    return [rule.format(endpoint=ENDPOINT[family], **ADDRESSES[family]) for rule in rules]


def as_text(table: str, rules: list[str]) -> str:
    lines = "".join(f"-A RULES {rule}\n" for rule in rules)
    return f"*{table}\n:RULES - [0:0]\n:LEAF - [0:0]\n{lines}COMMIT\n"


def counted(table: str, rules: list[str]) -> str:
    lines = "".join(f"[7:{number}] -A RULES {rule}\n" for number, rule in enumerate(rules, 400))
    return f"*{table}\n:RULES - [0:0]\n:LEAF - [0:0]\n{lines}COMMIT\n"
