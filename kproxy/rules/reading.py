"""The rules that are in force in the namespace of the calling thread."""

from __future__ import annotations

from kproxy.address import Family
from kproxy.backend import BackendOptions, BadInput, Listing, Mode, listing_of
from kproxy.config import ProxyConfig
from kproxy.proxy.in_force import in_force
from kproxy.proxy.setup import close
from kproxy.rules.paper import Paper


def read_listing(mode: Mode, family: Family, options: BackendOptions) -> Listing:
    """Return the rules of a mode, with counters where it has some. `options` must be complete.

    Raises KernelRefused, Unsupported, BackendFault.
    """
    backend = mode.backend(family, options)
    try:
        return listing_of(backend)
    finally:
        close(backend)


def found_in_force(config: ProxyConfig, wanted: str | None = None) -> Paper:
    """Return the mode that has rules of Services here, or of several the `wanted` one.

    Raises BadInput if there is none, or several.
    """
    found = {
        (mode.name, str(options)): Paper(config=config, mode=mode, options=options)
        for family in Family
        for mode, options in in_force(config, family)
        if wanted in (None, mode.name)
    }
    # A mode whose options make no difference to what it reads is found once with each.
    by_mode = {paper.mode.name: paper for paper in reversed(found.values())}
    if len(by_mode) == 1:
        return next(iter(by_mode.values()))
    if not by_mode:
        which = f"{wanted} mode" if wanted else "any service proxy"
        raise BadInput(
            [f"there are no rules of {which} for Services here"],
            remedy="kproxy ls, for labs; --netns NAME; or --manifests FILE, without a kernel",
        )
    raise BadInput([f"there are rules of several modes: {', '.join(by_mode)}"], remedy="--mode")
