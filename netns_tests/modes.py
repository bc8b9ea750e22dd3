"""The modes that tests go through, and how each one's kernel state is read back."""

from __future__ import annotations

import pytest
from msgspec import Struct

from kproxy.kernel.xtables import Variant
from netns_tests.conformance import dump


class Mode(Struct, frozen=True):
    """A proxy mode, and the variant of iptables it works with."""

    name: str
    variant: Variant

    def dump(self) -> str:
        """What a proxy of this mode left in the calling thread's namespace."""
        return dump.ipvs(self.variant) if self.name == "ipvs" else dump.iptables(self.variant)

    def __str__(self) -> str:
        return f"{self.name}-{self.variant}"


IPTABLES = [Mode("iptables", "nft"), Mode("iptables", "legacy")]
MODES = [
    *IPTABLES,
    # The kernel that has ip_vs need not have NAT in nf_tables.
    pytest.param(Mode("ipvs", "legacy"), marks=pytest.mark.ipvs),
]
