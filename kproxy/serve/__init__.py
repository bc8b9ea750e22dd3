"""What a proxy answers over HTTP, apart from the traffic that it forwards.

    plan, delta -> HealthChecks -> ServiceHealth -> HttpServer -> load balancers that ask

Nouns: a `ServiceHealth` keeps the health check node ports of one node in step with its plans; its
listeners are made in the node's namespace and served by the one thread of an `HttpServer`, which
may serve many nodes. `kproxy.loop.http` knows requests and responses, and no socket.
"""

from kproxy.serve.server import HttpServer, Listener
from kproxy.serve.service_health import ServiceHealth

__all__ = ["HttpServer", "Listener", "ServiceHealth"]
