"""In what versions of iptables differ that write for nf_tables. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from kproxy.address import Family


@dataclass(frozen=True, eq=False)  # an object for each is compared and hashed by identity: fast
class Dialect:
    """How one version writes the rules of one family."""

    family: Family
    addresses_first: bool
    """A rule begins with the addresses, not with interfaces and protocol."""
    protocol_in_header: bool
    """The protocol is that in the header of the packet, not that of nf_tables' own parser."""
    counting_base_chains: bool
    """Base chains count their packets, which iptables-save prints behind the policy."""


# Those whose rules netns_tests/iptables/test_native_writer.py has compared with ours.
_OLD, _NEW = (1, 8, 9), frozenset(((1, 8, 11), (1, 8, 13)))
_DIALECTS: dict[tuple[int, ...], dict[Family, Dialect]] = {
    version: {
        family: Dialect(
            family=family,
            addresses_first=version in _NEW,
            protocol_in_header=version in _NEW and family is Family.IPV4,
            counting_base_chains=version in _NEW,
        )
        for family in Family
    }
    for version in (_OLD, *_NEW)
}


def dialect(family: Family, version: tuple[int, ...]) -> Dialect | None:
    """Return how iptables of this version writes, None if that is not known."""
    return _DIALECTS.get(version, {}).get(family)
