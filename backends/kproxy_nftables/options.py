"""The options of nftables mode. Pure."""

from __future__ import annotations

from typing import Literal

from kproxy.backend import BackendOptions


class NftablesOptions(BackendOptions, frozen=True, kw_only=True):
    """The options of nftables mode."""

    nftables_layout: Literal["kube-proxy", "flat"] = "kube-proxy"
    """The layout of the table: kube-proxy's, or a flat one made for speed."""
