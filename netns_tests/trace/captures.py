"""Captures, as Wireshark reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path


def shown(capture: Path, *fields: str) -> list[tuple[str, ...]]:
    """Return the fields of all packets; lines of a comment are parted by the characters `\\n`."""
    options = [word for field in fields for word in ("-e", field)]
    done = subprocess.run(
        ["tshark", "-r", str(capture), "-T", "fields", *options],
        capture_output=True,
        text=True,
        check=True,
    )
    return [tuple(line.split("\t")) for line in done.stdout.splitlines()]
