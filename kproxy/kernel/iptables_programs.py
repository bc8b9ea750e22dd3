"""The programs of iptables on this machine: their names and versions."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Literal

from kproxy.address import Family
from kproxy.errors import Unsupported
from kproxy.kernel.process import run

Variant = Literal["nft", "legacy"]

_versions: dict[str, tuple[int, ...]] = {}  # by file


def name(family: Family) -> str:
    return "iptables" if family is Family.IPV4 else "ip6tables"


def version(command: str) -> tuple[int, ...]:
    """Return the version of a command. Raises Unsupported if it is not installed.

    The commands of both families are links to one file, which is asked once.
    """
    path = shutil.which(command, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    file = os.path.realpath(path) if path else command
    if file not in _versions:
        text = run([command, "--version"])
        found = re.search(r"v(\d+(?:\.\d+)+)", text)
        if not found:
            raise Unsupported(f"{command} --version printed no version: {text[:80]!r}")
        _versions[file] = tuple(int(part) for part in found[1].split("."))
    return _versions[file]


def default_variant(family: Family) -> Variant:
    """Return the variant that `iptables` is on this machine (update-alternatives on Debian)."""
    path = shutil.which(name(family)) or f"/usr/sbin/{name(family)}"
    return "legacy" if "legacy" in Path(path).resolve().name else "nft"
