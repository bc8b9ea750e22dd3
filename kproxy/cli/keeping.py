"""`--keep`: keeps a lab up until Ctrl-C, and shows what to do with it meanwhile."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from kproxy.backend import load
from kproxy.errors import KproxyError
from kproxy.proxy.control_loop import DRIFT_INTERVAL_S

if TYPE_CHECKING:
    from kproxy.lab import Lab

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

log = logging.getLogger("kproxy")


def keep(lab: Lab, node: str, in_pod: Sequence[str]) -> None:
    """Wait for Ctrl-C, SIGTERM or a terminal that is closed; meanwhile the proxies repair their
    rules. `in_pod` is the name of a pod, and a command to try there."""
    from kproxy.kernel.running import on_uml
    from kproxy.lab.names import published

    pod, *command = in_pod
    look = (load(lab.mode).look if lab.mode else "") or "ss -tulpn"
    enough = threading.Event()
    former = {number: signal.getsignal(number) for number in _NUMBERS}
    caught = [number for number in _NUMBERS if former[number] is not signal.SIG_IGN]  # nohup
    for number in caught:
        signal.signal(number, lambda *_: enough.set())
    # A user-mode kernel has no other terminals, unless the lab was started from a shell on it.
    where = "In the shell of that kernel (ipvs-kernel bash)" if on_uml() else "In another terminal"
    click.echo(
        f"\nThe lab stays up. {where}:\n"
        "  ip netns list\n"
        f"  ip netns exec {published(lab.spec.name, node)} {look}\n"
        f"  ip netns exec {published(lab.spec.name, pod)} {' '.join(command)}\n"
        "Ctrl-C removes it.",
        err=True,
    )
    while not enough.wait(DRIFT_INTERVAL_S):
        _repair(lab)
    for number in caught:
        signal.signal(number, former[number])


def _repair(lab: Lab) -> None:
    """Repair rules as `kproxy run` does; what fails is tried again a second later."""
    try:
        repaired = lab.repair()
    except KproxyError as error:
        log.error("%s", " | ".join(str(error).splitlines()))
        return
    for node, families in repaired.items():
        changed = " and ".join(families)
        log.warning("%s: %s rules were changed by another process; wrote all again", node, changed)
