"""The `Mode` of nftables mode."""

from __future__ import annotations

from kproxy.backend import Mode, ModeConfig
from kproxy.config.types import PRIMARY
from kproxy_nftables import oracle
from kproxy_nftables.backend import NftablesBackend
from kproxy_nftables.options import NftablesOptions

MODE = Mode(
    name=NftablesBackend.name,
    backend=NftablesBackend,
    description="Maps of nftables, in kube-proxy's layout or a flat one.",
    options=NftablesOptions,
    config=ModeConfig(timing="nftables", masquerade="nftables", node_port_addresses=(PRIMARY,)),
    rules=oracle,
    variants=("kube-proxy", "flat"),
    variant_option="nftables_layout",
    look="nft list table ip kube-proxy",
)
