"""The Services whose rules are on a node before anything is synced, whoever wrote them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from kproxy.address import Family
from kproxy.backend import BackendOptions, Mode, complete_options, sound_modes
from kproxy.config import ProxyConfig
from kproxy.errors import KproxyError
from kproxy.proxy.setup import close

log = logging.getLogger("kproxy")


def services_in_force(config: ProxyConfig) -> int:
    """Return of how many Services there are rules in the namespace of the calling thread.

    It is the largest number of any mode, variant and family. What cannot be read counts as none:
    a mode that cannot run here cannot have left anything.
    """
    return max(
        (
            _count(mode, family, complete_options(mode, config, options))
            for mode in sound_modes()
            for options in _options(mode)
            for family in Family
        ),
        default=0,
    )


def in_force(config: ProxyConfig, family: Family) -> list[tuple[Mode, BackendOptions]]:
    """Return the modes, with their options, that have rules of Services in the namespace of the
    calling thread.
    """
    return [
        (mode, complete)
        for mode in sound_modes()
        for options in _options(mode)
        for complete in [complete_options(mode, config, options)]
        if _count(mode, family, complete)
    ]


def _options(mode: Mode) -> Iterator[BackendOptions]:
    for variant in mode.variants or ("",):
        yield mode.options_with(**{mode.variant_option: variant} if variant else {})


def _count(mode: Mode, family: Family, options: BackendOptions) -> int:
    try:
        backend = mode.backend(family, options)
    except (KproxyError, OSError):
        return 0
    try:
        return mode.services(backend.read())
    except (KproxyError, OSError) as error:
        log.debug("%s %s: cannot look for Services: %s", mode.name, family.value, error)
        return 0
    finally:
        close(backend)
