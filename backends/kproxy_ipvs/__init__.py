"""The ipvs mode: virtual servers, and the ipsets and iptables rules around them.

wanted     what one service port wants in the kernel (pure)
desired    what all want together, and what a change makes of it (pure)
rules      the iptables rules (pure)
names      sets, chains, jumps, the device
servers    brings virtual servers and real servers to what is desired; drains removed ones
backend    one sync, step by step
damage, reading, cleanup, kernel_settings

oracle, options, mode: what packets meet (pure), what may be set, all of it as a `Mode`
"""

from kproxy_ipvs.backend import IpvsBackend
from kproxy_ipvs.mode import MODE
from kproxy_ipvs.options import IpvsOptions

__all__ = ["MODE", "IpvsBackend", "IpvsOptions"]
