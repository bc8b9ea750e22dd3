"""The options of iptables mode. Pure."""

from __future__ import annotations

from typing import Literal

from kproxy.backend import BackendOptions


class IptablesOptions(BackendOptions, frozen=True, kw_only=True):
    """`iptables_variant`: which iptables. auto: the one in use in the namespace."""

    iptables_variant: Literal["auto", "nft", "legacy"] = "auto"
