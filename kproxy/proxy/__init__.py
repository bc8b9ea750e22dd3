"""The proxy of one node: from what the sources say to kernel state, again and again.

    sources -> events -> ControlLoop -> Store -> changes -> NodeProxy -> plan, delta -> Backend

Nouns: `NodeProxy` plans and syncs every family, once for each call; `BoundedFrequency` decides when
that may and must happen; `ControlLoop` owns both and waits. Only the loop knows a clock.
"""

from kproxy.proxy.node_proxy import NodeProxy, SyncFailed

__all__ = ["NodeProxy", "SyncFailed"]
