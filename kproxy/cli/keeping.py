"""`--keep`: keeps a lab up until Ctrl-C, and shows what to do with it meanwhile."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from kproxy.backend import load

if TYPE_CHECKING:
    from kproxy.lab import Lab


def keep(lab: Lab, node: str, in_pod: Sequence[str]) -> None:
    """Wait for Ctrl-C or SIGTERM. `in_pod` is the name of a pod, and a command to try there."""
    from kproxy.kernel.running import on_uml
    from kproxy.lab.names import published

    pod, *command = in_pod
    look = (load(lab.mode).look if lab.mode else "") or "ss -tulpn"
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
    enough = threading.Event()
    former = {
        number: signal.signal(number, lambda *_: enough.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    enough.wait()
    for number, handler in former.items():
        signal.signal(number, handler)
