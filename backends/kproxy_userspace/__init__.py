"""The userspace mode: a proxy that is a proxy. Sockets in this process, and no netfilter at all.

It is in the spirit of the first kube-proxy, and the smallest honest picture of what a service proxy
is. The node has every address of a Service, and this process listens there: a client is accepted,
an endpoint chosen and connected to, and bytes are carried to and fro until both have ended.

wanted       what one service port asks to be listened for, read off the plan (pure)
choice       which endpoint a client gets (pure)
addresses    the addresses of Services on `lo`, and how they are told from everybody else's
sockets      listening sockets, and filters that keep some clients away from them
serving, tcp, udp    what a listener does with a client
forwarder    the listeners of one family, on an event loop in a thread of their own
backend      one sync

oracle, options, mode: what packets meet (pure), what may be set, all of it as a `Mode`

Of kproxy, nothing but `kproxy.backend` is imported here.
"""

from kproxy_userspace.backend import UserspaceBackend
from kproxy_userspace.mode import MODE
from kproxy_userspace.options import UserspaceOptions

__all__ = ["MODE", "UserspaceBackend", "UserspaceOptions"]
