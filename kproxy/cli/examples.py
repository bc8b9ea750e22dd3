"""Finds the folder examples/, which commands read."""

from __future__ import annotations

from pathlib import Path

from kproxy.errors import Unsupported

_LAB = "lab/demo.yaml"


def examples() -> Path:
    """Return the folder, inside an installed package or beside it in a checkout.

    Raises Unsupported if it is missing.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "examples", package.parent / "examples"):
        if (folder / _LAB).is_file():
            return folder
    raise Unsupported(
        "the folder examples/ is missing from this installation",
        remedy="install kproxy again from a complete checkout",
    )
