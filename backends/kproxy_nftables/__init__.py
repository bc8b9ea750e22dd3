"""The nftables mode: one table in each family, in one of two layouts.

names                what is in the table is called
words                parts of rules in nft's words (pure)
frame                what is there whatever the Services (pure)
kube_proxy_layout    what one service port wants, as in kube-proxy (pure)
flat_layout          the same in elements of shared maps, and the frame of this layout (pure)
wanted               what both layouts say of a service port (pure)
contents             what all want together, and what a change makes of it (pure)
transaction          the order of things in a transaction (pure)
backend              one sync
damage, support

oracle, options, mode: what packets meet (pure), what may be set, all of it as a `Mode`
"""

from kproxy_nftables.backend import NftablesBackend
from kproxy_nftables.mode import MODE
from kproxy_nftables.options import NftablesOptions

__all__ = ["MODE", "NftablesBackend", "NftablesOptions"]
