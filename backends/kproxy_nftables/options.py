"""The options of nftables mode. Pure."""

from __future__ import annotations

from typing import Literal

from kproxy.backend import BackendOptions


class NftablesOptions(BackendOptions, frozen=True, kw_only=True):
    """`nftables_layout`: how the table looks, as kube-proxy's or made for speed."""

    nftables_layout: Literal["kube-proxy", "flat"] = "kube-proxy"
