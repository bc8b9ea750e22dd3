"""KubeProxyConfiguration: what an operator may set, and what it means on a node.

    file or flags -> values -> ProxyConfig (defaults, checked) -> NodeSettings of each family

Nouns: `ProxyConfig`, the whole configuration; `Problem`, a fault of a field; `NodeSettings` (of
`kproxy.forwarding`), the part of it that a planner needs. Nothing here reads the kernel.
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
