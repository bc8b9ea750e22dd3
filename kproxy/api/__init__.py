"""Kubernetes objects, as far as a service proxy reads them.

`load` and `decode` turn manifests that users submit into frozen values of the types in
`kproxy.api.types`; a control plane judges them. `decode_texts` and `as_read` return stored
objects as a proxy reads them: with Kubernetes' defaults, every address in canonical form, and every
fault reported. These need not be checked again.
"""

from kproxy.api.decode import Decoded, as_read, decode, decode_texts, load, manifest_files

__all__ = ["Decoded", "as_read", "decode", "decode_texts", "load", "manifest_files"]
