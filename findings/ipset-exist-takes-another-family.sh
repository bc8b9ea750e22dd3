#!/usr/bin/env bash
# `ipset -exist create` succeeds if a set of that name exists with the other address family, and leaves
# it as it is: the entries that are added next are then refused.
#
# ipset 7.17 (Debian 12), Linux 6.18. -exist says that the set may exist "with the same parameters", and
# the kernel does compare type, maxelem, timeout and the like: a set that differs there is refused. It
# does not compare the family (nor hashsize). So whoever makes sets with -exist, as service proxies do at
# each start, has to read back the family of what was there before.
#
# Seen:
#     hash:ip over inet6: exit status 0, family inet6
#     an IPv4 entry: exit status 1
#     maxelem 20 over 10: exit status 1
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get -qq -o APT::Sandbox::User=root download ipset=7.17-1 libipset13=7.17-1 libmnl0=1.0.4-3
for package in ./*.deb; do dpkg -x "$package" .; done
program=$(find . -name ipset -path '*bin*')
libraries=$(dirname "$(find "$PWD" -name 'libipset.so.13' | head -n 1)")

cat >look.sh <<'SCRIPT'
ipset() { LD_LIBRARY_PATH=$2 "$1" "${@:3}" 2>/dev/null && status=0 || status=$?; }
ipset "$@" create A hash:ip family inet6
ipset "$@" -exist create A hash:ip family inet
family=$(LD_LIBRARY_PATH=$2 "$1" save A | grep -o 'family [a-z0-9]*')
echo "hash:ip over inet6: exit status $status, $family"
ipset "$@" add A 10.0.0.1
echo "an IPv4 entry: exit status $status"
ipset "$@" create B hash:ip maxelem 10
ipset "$@" -exist create B hash:ip maxelem 20
echo "maxelem 20 over 10: exit status $status"
SCRIPT
unshare --net bash look.sh "$program" "$libraries" | tee seen
cat >expected <<'EXPECTED'
hash:ip over inet6: exit status 0, family inet6
an IPv4 entry: exit status 1
maxelem 20 over 10: exit status 1
EXPECTED
diff expected seen || { echo "this is no longer as described above" >&2 && exit 1; }
