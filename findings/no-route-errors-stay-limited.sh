#!/usr/bin/env bash
# A Linux router goes on limiting "network unreachable" of IPv4 when its limits of ICMP are switched off: with
# net.ipv4.icmp_ratelimit=0 (and icmp_msgs_per_sec as large as can be) a client that sends 40 datagrams to
# addresses without a route gets about six errors, and the others are just lost. In IPv6, where the same switch is
# net.ipv6.icmp.ratelimit=0, all 40 come.
#
# Linux 6.18, scapy 2.6.1. These errors of IPv4 have a limit of their own, for each source, which belongs to
# routing (net.ipv4.route.error_cost and error_burst); a network namespace cannot change it. So a test that asks a
# router for many such addresses at once sees time-outs where it expects refusals.
#
# Seen:
#     IPv4: fewer than 10 of 40 errors
#     IPv6: 40 of 40 errors
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install scapy==2.6.1

cat >ask.py <<'SCRIPT'
import sys

from scapy.all import ICMP, IP, UDP, AsyncSniffer, Ether, ICMPv6DestUnreach, IPv6, getmacbyip, sendp
from scapy.layers.inet6 import neighsol

family = sys.argv[1]
if family == "IPv4":
    head, error, number = IP(src="10.0.0.2"), ICMP, lambda n: f"10.9.0.{n}"
    router = getmacbyip("10.0.0.1")
else:
    head, error, number = IPv6(src="fd00::2"), ICMPv6DestUnreach, lambda n: f"fd09::{n}"
    router = neighsol("fd00::1", "fd00::2", "eth0", timeout=5)[Ether].src
packets = []
for n in range(1, 41):
    packet = Ether(dst=router) / head.copy() / UDP(sport=4000 + n, dport=9)
    packet[type(head)].dst = number(n)
    packets.append(packet)
sniffer = AsyncSniffer(iface="eth0", lfilter=lambda packet: error in packet)
sniffer.start()
while not getattr(sniffer, "stop_cb", None):
    pass
sendp(packets, iface="eth0", verbose=False)
sniffer.join(timeout=2)
found = len(sniffer.stop())
print(f"{family}: {'fewer than 10' if found < 10 else found} of 40 errors")
SCRIPT

cat >look.sh <<'SCRIPT'
ip link add eth0 type veth peer name eth1
unshare --net sleep 60 & router=$!
trap 'kill $router' EXIT
until [ "$(readlink /proc/$router/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
ip link set eth1 netns $router
there() { nsenter --target $router --net "$@"; }
ip address add 10.0.0.2/24 dev eth0
ip -6 address add fd00::2/64 dev eth0 nodad
ip link set eth0 up
there ip address add 10.0.0.1/24 dev eth1
there ip -6 address add fd00::1/64 dev eth1 nodad
there ip link set eth1 up
there sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
there sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
venv/bin/python ask.py IPv4
venv/bin/python ask.py IPv6
SCRIPT
unshare --net bash look.sh | tee seen
cat >expected <<'EXPECTED'
IPv4: fewer than 10 of 40 errors
IPv6: 40 of 40 errors
EXPECTED
diff expected seen || { echo "this is no longer as described above" >&2 && exit 1; }
