"""One lab that stays, with the Services `web` and the pods that clients of its API use."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from netns_tests.up.machine import Machine, private_machine

WEB = "examples/services/cluster-ip.yaml"
PACKAGES = "/srv"  # where pods find ours: they have a /tmp and a /root of their own
TIMEOUT_S = 20


class Served(Struct, frozen=True):
    """A lab that is up, and the kubeconfig of its API."""

    machine: Machine
    kubeconfig: Path


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Have a lab of two nodes up during the block, with the Deployment and the Service web."""
    with private_machine() as machine:
        machine.run("mount", "--bind", sysconfig.get_path("purelib"), PACKAGES)
        machine.ok("up", "--nodes", "2", "--mode", "nftables")
        kubeconfig = folder / "kubeconfig"
        machine.ok("kubeconfig", "--write", str(kubeconfig))
        machine.ok("apply", "-f", WEB)
        yield Served(machine, kubeconfig)
