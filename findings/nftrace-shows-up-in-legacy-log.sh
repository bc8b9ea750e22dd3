#!/usr/bin/env bash
# A rule of nf_tables that sets nftrace also turns on the trace of legacy iptables: the kernel's ip_tables writes its
# TRACE records for such a packet, although iptables-legacy has no TRACE rule at all, not even a table `raw`.
#
# iptables 1.8.9, nftables 1.0.6 (Debian 12), Linux 6.18. Both kinds of tables look at the same bit of the packet, which
# stays for the rest of its way through the host. So whoever sets nftrace for a moment on a machine with legacy
# rules also fills its log (or that of ulogd): one record for each table, chain and policy on the way. The other
# way round, one filter in nf_tables is enough to trace both, and legacy tables need not be touched.
#
# Seen, by a listener of nfnetlink_log's group 0, while one datagram is sent over the loopback link:
#     without nftrace: 0 records
#     with nftrace: TRACE: filter:OUTPUT:rule:1
#     with nftrace: TRACE: filter:INPUT:policy:1
#     rules of the table raw: 0
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get -qq -o APT::Sandbox::User=root download nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 \
    libnftnl11=1.2.4-2 iptables=1.8.9-2 libxtables12=1.8.9-2 libip4tc2=1.8.9-2 libip6tc2=1.8.9-2
for package in ./*.deb; do dpkg -x "$package" .; done
libraries=$(dirname "$(find "$PWD" -name 'libnftables.so.1' | head -n 1)")

cat >listen.py <<'SCRIPT'
import socket
import struct
import sys

CONFIG, PACKET = (4 << 8) | 1, 4 << 8  # of NFNL_SUBSYS_ULOG
BIND, CFG_CMD, CFG_MODE, PREFIX = 1, 1, 2, 10


def attribute(kind, data):
    return struct.pack("HH", len(data) + 4, kind) + data.ljust(-(-len(data) // 4) * 4, b"\0")


def configure(*attributes):
    body = struct.pack("!BBH", socket.AF_UNSPEC, 0, 0) + b"".join(attributes)
    log.send(struct.pack("IHHII", 16 + len(body), CONFIG, 1 | 4, 1, 0) + body)  # request, acknowledge
    answer = log.recv(65536)
    assert struct.unpack_from("i", answer, 16)[0] == 0, answer


log = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
log.bind((0, 0))
configure(attribute(CFG_CMD, struct.pack("B", BIND)))
configure(attribute(CFG_MODE, struct.pack("!IBx", 0, 1)))  # what is known of the packet, but not its bytes
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 0))
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.sendto(b"x", receiver.getsockname())
receiver.recv(10)  # it has passed all rules
log.settimeout(1)
found = []
while True:
    try:
        data = log.recv(65536)
    except TimeoutError:
        break
    if struct.unpack_from("H", data, 4)[0] != PACKET:
        continue
    place = 20
    while place < struct.unpack_from("I", data)[0]:
        length, kind = struct.unpack_from("HH", data, place)
        if kind == PREFIX:
            found.append(data[place + 4 : place + length].rstrip(b"\0").decode().strip())
        place += -(-length // 4) * 4
print("\n".join(f"{sys.argv[1]}: {each}" for each in found or ["0 records"]))
SCRIPT

cat >look.sh <<'SCRIPT'
export LD_LIBRARY_PATH=$libraries XTABLES_LIBDIR=$libraries/xtables
ip link set lo up
echo nfnetlink_log >/proc/sys/net/netfilter/nf_log/2
./usr/sbin/xtables-legacy-multi iptables -A OUTPUT -p udp -j ACCEPT
./usr/sbin/nft 'add table ip t; add chain ip t c { type filter hook output priority -300; }'
python3 listen.py 'without nftrace'
./usr/sbin/nft add rule ip t c meta nftrace set 1
python3 listen.py 'with nftrace'
echo "rules of the table raw: $(grep -c . < <(grep -x raw /proc/net/ip_tables_names || true) || true)"
SCRIPT
libraries=$libraries unshare --net bash -e look.sh | tee seen
cat >expected <<'EXPECTED'
without nftrace: 0 records
with nftrace: TRACE: filter:OUTPUT:rule:1
with nftrace: TRACE: filter:INPUT:policy:1
rules of the table raw: 0
EXPECTED
diff expected seen || { echo "this is no longer as described above" >&2 && exit 1; }
