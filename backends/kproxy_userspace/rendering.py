"""The addresses and listeners that a plan becomes, as text. Pure."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address

from kproxy.backend import Family, Plan, Ruleset, family_of
from kproxy_userspace.wanted import Wanted, in_words


def render(plan: Plan, addresses: Collection[str]) -> Ruleset:
    """Return what `UserspaceBackend.read` would after a full sync. See `Mode.render`."""
    wanted = Wanted([each for each in addresses if _counts(each, plan.family)], plan.settings)
    for name, service in plan.services.items():
        wanted.change(name, None, service)
    changes = wanted.take_changes()
    return in_words(changes.added, {place: one for place, one in changes.listeners.items() if one})


def _counts(address: str, family: Family) -> bool:
    """Tell whether `addresses.look` would return an address."""
    return family_of(address) is family and (
        family is Family.IPV4 or not ip_address(address).is_link_local
    )
