"""Loading kernel modules."""

from __future__ import annotations

import logging

from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.process import run

log = logging.getLogger("kproxy")


def modprobe(*names: str) -> None:
    """Have them loaded, if that is possible: whether they are there shows when they are used."""
    try:
        run(["modprobe", "--all", *names])
    except (KernelRefused, Unsupported) as error:
        log.debug("%s", error)
