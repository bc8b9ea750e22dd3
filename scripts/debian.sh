# Installs Debian packages on demand. To be sourced by scripts that use `set -euo pipefail`.
# shellcheck shell=bash

export PATH="$PATH:/usr/sbin:/sbin" # where iptables is; not every user's path has them

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

# Takes fields "PROGRAM=PACKAGE" and prints the packages whose program is not on the path.
lacking() {
    local field
    for field in "$@"; do
        command -v "${field%%=*}" >/dev/null || printf '%s\n' "${field#*=}"
    done | sort -u
}

# Runs a command and prints its output only if it fails.
quietly() {
    local output
    output=$(mktemp)
    if ! "$@" >"$output" 2>&1; then
        cat "$output" >&2
        rm -f "$output"
        fail "command failed: $*"
    fi
    rm -f "$output"
}

# Installs the packages given, if any.
install() {
    [ $# -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "this is not Debian: install these packages yourself (Debian's names): $*"
    [ "$(id -u)" = 0 ] || fail "these Debian packages are missing, and only root can install them: $*
Run it once as root: sudo ${0}"
    say "installing Debian packages: $*"
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get -qq update
    quietly apt-get -qq install --yes --no-install-recommends "$@"
}

# Installs packages without starting their service SERVICE, now or at boot: only the programs are needed.
install_stopped() {
    local service=$1 policy=/usr/sbin/policy-rc.d made=
    shift
    [ $# -gt 0 ] || return 0
    # Debian asks this program before it starts a service; 101 forbids it (invoke-rc.d(8)).
    if [ "$(id -u)" = 0 ] && [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        made=yes
        # shellcheck disable=SC2064 # expand $policy now, it is local
        trap "rm -f $policy" EXIT
    fi
    install "$@"
    if [ -n "$made" ]; then
        rm -f $policy
        trap - EXIT
    fi
    ! command -v systemctl >/dev/null || systemctl --quiet disable "$service" 2>/dev/null || true
}

# Unpacks the first of the Debian packages $3... that has program $1 into folder $2, unless that has it. It is
# not installed: its programs shadow no others, and others do not shadow them.
unpack() {
    local program=$1 folder=$2 package made release
    shift 2
    [ ! -e "$folder/$program" ] || return 0
    command -v apt-get >/dev/null || fail "this is not Debian: put $program into $folder yourself"
    say "unpacking $program of Debian"
    made=$(mktemp -d -p "${folder%/*}") # there, so that the last step is one
    quietly apt-get -qq update
    release=$(. /etc/os-release && echo "$VERSION_CODENAME") # others offer packages of these names, too
    for package in "$@"; do
        (cd "$made" && quietly apt-get -qq -o APT::Sandbox::User=root download "$package/$release")
        dpkg-deb --extract "$made/$package"_*.deb "$made/$package"
        [ ! -e "$made/$package/$program" ] || break
    done
    rm -rf "$folder"
    mv "$made/$package" "$folder"
    rm -rf "$made"
    [ -e "$folder/$program" ] || fail "none of these Debian packages has $program: $*"
}

# Prints this machine's pip settings that another file system needs, too: index, proxy and time-out, without
# indexes that are folders here. There $1 is the copy of this machine's `certificates`, if it has any.
pip_settings() {
    printf '[global]\n'
    python3 -m pip config list 2>/dev/null |
        sed -nE "/='file:/d; s/^[^']*\.(index-url|extra-index-url|trusted-host|proxy|timeout)='(.*)'$/\1 = \2/p"
    [ ! -e "$(certificates)" ] || printf 'cert = %s\n' "$1"
}

# Prints the path of the certificates that pip trusts on this machine.
certificates() {
    python3 -m pip config get global.cert 2>/dev/null || echo /etc/ssl/certs/ca-certificates.crt
}
