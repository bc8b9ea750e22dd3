"""Loading kernel modules."""

from __future__ import annotations

import logging

from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.process import run

log = logging.getLogger("kproxy")


def modprobe(*names: str) -> None:
    """Load modules if possible. Failures are only logged: using a missing one raises an error."""
    try:
        run(["modprobe", "--all", *names])
    except (KernelRefused, Unsupported) as error:
        log.debug("%s", error)
