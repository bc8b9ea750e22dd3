"""Kubernetes objects, as far as a service proxy reads them.

`load` and `decode` turn manifests that users submit into frozen values of the types in
`kproxy.api.types`; a control plane judges them. `decode_texts` and `as_read` return stored
objects as a proxy reads them: with Kubernetes' defaults, every address in canonical form, and every
fault reported. These need not be checked again.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kproxy.api.manifests import Decoded, decode, decode_texts, load, manifest_files
from kproxy.api.typed_kinds import as_read

__all__ = ["Decoded", "as_read", "decode", "decode_texts", "load", "manifest_files"]


def __getattr__(name: str) -> Any:
    # Loaded at first use: the rules for manifests are most of this package, and whoever has only
    # objects needs none of them.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("kproxy.api.manifests"), name)
