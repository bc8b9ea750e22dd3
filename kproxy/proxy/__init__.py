"""The proxy of one node: keeps the kernel state in step with the objects of the sources.

    sources -> events -> ControlLoop -> Store -> changes -> NodeProxy -> plan, delta -> Backend

Nouns: `NodeProxy` plans and syncs every family, once per call; `BoundedFrequency` decides when
that may and must happen; `ControlLoop` owns both and waits. Only the loop reads a clock.
"""

from kproxy.proxy.node_proxy import NodeProxy, SyncFailed

__all__ = ["NodeProxy", "SyncFailed"]
