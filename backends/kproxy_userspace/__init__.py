"""The userspace mode: a proxy that forwards by itself, with sockets of this process, no netfilter.

It is in the spirit of the first kube-proxy, and the smallest complete example of a service proxy.
The node has every address of a Service, and this process listens there: it accepts a client,
chooses an endpoint, connects to it, and copies bytes both ways until both sides have ended.

wanted       the listeners and addresses that service ports need, computed from the plan (pure)
addresses    the addresses of Services on `lo`, which are told apart from all others
sockets      listening sockets, and filters that keep some clients away from them
serving, tcp, udp    the listeners of both protocols
forwarder    the listeners of one family, on an event loop in a thread of their own
backend      one sync

rendering    what there would be for a plan, as text (pure)
oracle, options, mode: the expected outcome of packets (pure), the options, all of it as a `Mode`

Nothing of kproxy is imported here but `kproxy.backend`, and `kproxy.relay`, which chooses an
endpoint for a client and copies bytes.
"""

from kproxy_userspace.mode import MODE
from kproxy_userspace.options import UserspaceOptions

__all__ = ["MODE", "UserspaceOptions"]
