#!/usr/bin/env bash
# nft refuses to load or check the ruleset that it has just listed, as long as those rules are in the
# kernel, if a dnat map has a port declared as `typeof th dport`; an empty kernel takes the same text.
#
# nft 1.0.6 (Debian 12), Linux 6.18. The listing turns `th dport` in the rule into `tcp dport`, because
# an earlier word of the rule says tcp. When that text is read, nft also fetches the map of that name
# from the kernel, and compares the two. So `nft list ruleset >file; nft -c -f file`, the usual way to
# look whether saved rules are good, fails for rules that are good. A map declared with `type inet_proto
# . inet_service : ipv4_addr . inet_service` holds the same elements, and passes.
#
# Seen:
#     typeof: over its own rules: exit status 1
#     typeof: into an empty kernel: exit status 0
#     type: over its own rules: exit status 0
#     Error: conflicting protocols specified: tcp vs. th
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get -qq -o APT::Sandbox::User=root download nftables=1.0.6-2+deb12u2 libnftables1=1.0.6-2+deb12u2 libnftnl11=1.2.4-2
for package in ./*.deb; do dpkg -x "$package" .; done
libraries=$(dirname "$(find "$PWD" -name 'libnftables.so.1' | head -n 1)")

cat >look.sh <<'SCRIPT'
nft() { LD_LIBRARY_PATH=$libraries ./usr/sbin/nft "$@" 2>>errors; }
rules() {
    cat <<RULES
table ip shop {
  map where {
    $1
    elements = { tcp . 80 : 10.0.0.1 . 8080 }
  }
  chain before {
    type nat hook prerouting priority dstnat
    meta l4proto tcp dnat ip addr . port to meta l4proto . th dport map @where
  }
}
RULES
}
say() { "${@:2}" && status=0 || status=$?; echo "$1: exit status $status"; }
rules 'typeof meta l4proto . th dport : ip daddr . th dport' | nft -f -
nft list ruleset >listed
say "typeof: over its own rules" nft -c -f listed
nft flush ruleset
say "typeof: into an empty kernel" nft -c -f listed
rules 'type inet_proto . inet_service : ipv4_addr . inet_service' | nft -f -
nft list ruleset >listed
say "type: over its own rules" nft -c -f listed
grep -o 'Error: .*' errors
SCRIPT
libraries=$libraries unshare --net bash look.sh | tee seen
cat >expected <<'EXPECTED'
typeof: over its own rules: exit status 1
typeof: into an empty kernel: exit status 0
type: over its own rules: exit status 0
Error: conflicting protocols specified: tcp vs. th
EXPECTED
diff expected seen || { echo "this is no longer as described above" >&2 && exit 1; }
