"""Kubernetes objects, as far as a service proxy reads them.

`load` and `decode` turn manifests into frozen values of the types in `kproxy.api.types`, with
Kubernetes' defaults and every address in canonical form, and report every fault in them. Objects
from here need not be checked again.
"""

from kproxy.api.decode import Decoded, decode, decode_texts, load, manifest_files

__all__ = ["Decoded", "decode", "decode_texts", "load", "manifest_files"]
