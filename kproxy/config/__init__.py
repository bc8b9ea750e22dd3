"""KubeProxyConfiguration: what an operator may set, and what it means on a node.

    file or flags -> values -> ProxyConfig (defaults, checked) -> NodeSettings of each family

Nouns: `ProxyConfig`, the whole configuration; `Problem`, what is wrong with a field; `NodeSettings`
(of `kproxy.forwarding`), what a planner needs of it all. Nothing here reads the kernel.
"""

from kproxy.config.file import load_config
from kproxy.config.node import node_name, node_settings, primary_family
from kproxy.config.types import (
    Conntrack,
    DetectLocal,
    IptablesSection,
    IpvsSection,
    ModeConfig,
    NftablesSection,
    ProxyConfig,
    Seconds,
)

__all__ = [
    "Conntrack",
    "DetectLocal",
    "IptablesSection",
    "IpvsSection",
    "ModeConfig",
    "NftablesSection",
    "ProxyConfig",
    "Seconds",
    "load_config",
    "node_name",
    "node_settings",
    "primary_family",
]
