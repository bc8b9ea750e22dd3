"""The nftables mode."""

from kproxy_nftables.backend import NftablesBackend

__all__ = ["NftablesBackend"]
