"""The proxy modes that tests are run with, and the reader of each one's kernel state."""

from __future__ import annotations

import pytest
from msgspec import Struct

from kproxy.backend import BackendOptions, load
from kproxy.kernel.iptables_programs import Variant
from netns_tests.conformance import dump


class Mode(Struct, frozen=True):
    """A proxy mode, the variant of iptables that it uses, and the layout in nftables mode.

    `local_fallback` is for ipvs mode, see `IpvsOptions`.
    """

    name: str
    variant: Variant = "nft"
    layout: str = "kube-proxy"
    local_fallback: bool = True

    @property
    def options(self) -> BackendOptions:
        return load(self.name).options_with(
            iptables_variant=self.variant,
            nftables_layout=self.layout,
            ipvs_local_fallback=self.local_fallback,
        )

    def dump(self) -> str:
        """Return what a proxy of this mode left in the calling thread's namespace."""
        match self.name:
            case "ipvs":
                return dump.ipvs(self.variant)
            case "nftables":
                return dump.nftables()
            case _:
                return dump.iptables(self.variant)

    def __str__(self) -> str:
        if self.name == "userspace":
            return self.name
        return f"{self.name}-{self.layout if self.name == 'nftables' else self.variant}"


IPTABLES = [Mode("iptables", "nft"), Mode("iptables", "legacy")]
FLAT = Mode("nftables", layout="flat")  # kproxy's own
NFTABLES = [Mode("nftables"), FLAT]
USERSPACE = Mode("userspace")
PACKET_FILTERS = [*IPTABLES, *NFTABLES]
MODES = [
    *PACKET_FILTERS,
    # The kernel that has ip_vs need not have NAT in nf_tables.
    pytest.param(Mode("ipvs", "legacy"), marks=pytest.mark.ipvs),
]
