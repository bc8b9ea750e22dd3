"""The options of iptables mode. Pure."""

from __future__ import annotations

from typing import Literal

from kproxy.backend import BackendOptions


class IptablesOptions(BackendOptions, frozen=True, kw_only=True):
    """The options of iptables mode."""

    iptables_variant: Literal["auto", "nft", "legacy"] = "auto"
    """The variant of iptables. auto: the one in use in the namespace."""
