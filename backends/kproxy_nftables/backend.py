"""The nftables backend."""

from __future__ import annotations

from kproxy.backend import BackendOptions, Ruleset, Support, SyncReport
from kproxy.errors import Unsupported
from kproxy.forwarding.plan import Delta, Family, NodeSettings, Plan


class NftablesBackend:
    """One family's table in the namespace of the calling thread. See kproxy.backend.Backend."""

    name = "nftables"

    def __init__(self, family: Family, options: BackendOptions) -> None:
        self.family = family
        self._options = options

    def support(self) -> Support:
        return Support(False, "nftables mode is being built", "use another mode")

    def prepare(self, _settings: NodeSettings, /) -> None:
        """Nothing: the rules rely on no setting."""

    def sync(self, _plan: Plan, _delta: Delta) -> SyncReport:
        raise Unsupported("nftables mode is being built")

    def intact(self) -> bool:
        return True

    def read(self) -> Ruleset:
        return {}

    def cleanup(self) -> None:
        """Nothing yet."""
