# Debian packages on demand. To be sourced; the caller has `set -euo pipefail`.
# shellcheck shell=bash

export PATH="$PATH:/usr/sbin:/sbin" # where iptables is, but not on everybody's path

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

# Fields "PROGRAM=PACKAGE": prints the packages whose program is not on the path.
lacking() {
    local field
    for field in "$@"; do
        command -v "${field%%=*}" >/dev/null || printf '%s\n' "${field#*=}"
    done | sort -u
}

# Runs a command whose output matters only if it fails.
quietly() {
    local output
    output=$(mktemp)
    if ! "$@" >"$output" 2>&1; then
        cat "$output" >&2
        rm -f "$output"
        fail "this failed: $*"
    fi
    rm -f "$output"
}

# Installs the packages given, if any.
install() {
    [ $# -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "please install these first (by their names in Debian): $*"
    [ "$(id -u)" = 0 ] || fail "not root, and these Debian packages are missing: $*
Once with root, please: sudo ${0}"
    say "installing Debian packages: $*"
    export DEBIAN_FRONTEND=noninteractive
    quietly apt-get -qq update
    quietly apt-get -qq install --yes --no-install-recommends "$@"
}

# Installs packages for their programs' sake: their service SERVICE neither starts now nor at boot.
install_stopped() {
    local service=$1 policy=/usr/sbin/policy-rc.d made=
    shift
    [ $# -gt 0 ] || return 0
    # Debian asks this program before it starts a service; 101 forbids it (invoke-rc.d(8)).
    if [ "$(id -u)" = 0 ] && [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        made=yes
        # shellcheck disable=SC2064 # as it is called now
        trap "rm -f $policy" EXIT
    fi
    install "$@"
    if [ -n "$made" ]; then
        rm -f $policy
        trap - EXIT
    fi
    ! command -v systemctl >/dev/null || systemctl --quiet disable "$service" 2>/dev/null || true
}
