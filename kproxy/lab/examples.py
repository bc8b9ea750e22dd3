"""Finds the examples that come with kproxy: labs and manifests."""

from __future__ import annotations

from pathlib import Path

from kproxy.errors import BadInput, Unsupported

_LABS = "lab"


def examples() -> Path:
    """Return the folder examples/, inside an installed package or beside it in a checkout.

    Raises Unsupported if it is missing.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "examples", package.parent / "examples"):
        if (folder / _LABS).is_dir():
            return folder
    raise Unsupported(
        "the folder examples/ is missing from this installation",
        remedy="install kproxy again from a complete checkout",
    )


def example(name: str) -> Path:
    """Return the file of an example, wherever kproxy is installed: a manifest for `Lab.apply`, such
    as "cluster-ip" or "services/node-port", or a lab for `Lab`, such as "demo" or "lab/ingress".

    The name is its path in examples/, without .yaml; a manifest comes before a lab of that name.
    "." is the folder, with the manifests that `kproxy demo` applies. Raises BadInput if there is
    none.
    """
    folder = examples()
    if name == ".":
        return folder
    files = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")}
    stem = name.removesuffix(".yaml")
    for found in (stem, f"{_LABS}/{stem}"):
        if found in files:
            return folder / f"{found}.yaml"
    known = ", ".join(sorted(each for each in files if not each.startswith("scenarios/")))
    raise BadInput([f"there is no example {name!r}; there are {known}"])
