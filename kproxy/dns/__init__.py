"""The cluster's DNS: names for Services and endpoints, as CoreDNS answers them.

    Services, EndpointSlices -> Records -> messages: bytes in, bytes out -> DnsServer: UDP and TCP

`Records` is a value: the watcher of the objects makes a new one after each change, and the server
asks for the current one at each query. Only `kproxy.dns.server` has sockets.
"""

from kproxy.dns.records import INITIAL_NAMESPACES, Answer, Records
from kproxy.dns.resolv import resolv_conf
from kproxy.dns.server import DnsServer

__all__ = ["INITIAL_NAMESPACES", "Answer", "DnsServer", "Records", "resolv_conf"]
