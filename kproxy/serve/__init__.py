"""The HTTP endpoints of a proxy: health check node ports, for load balancers.

    plan, delta -> HealthChecks -> ServiceHealth -> HttpServer -> load balancers that ask

Nouns: a `ServiceHealth` keeps the health check node ports of one node in step with its plans; its
listeners are made in the node's namespace and served by the one thread of an `HttpServer`, which
may serve many nodes. `kproxy.loop.http` reads and writes requests and responses, without sockets.
"""

from kproxy.serve.server import HttpServer, Listener
from kproxy.serve.service_health import ServiceHealth

__all__ = ["HttpServer", "Listener", "ServiceHealth"]
