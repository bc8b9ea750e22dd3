"""The ipvs mode: virtual servers, and the ipsets and iptables rules around them.

wanted           the objects that one service port needs in the kernel (pure)
desired          the objects that all service ports need, and their changes (pure)
rules            the iptables rules (pure)
names            sets, chains, jumps, the device (pure)
servers          brings virtual and real servers to the desired state; drains removed ones
backend          one sync, step by step
damage           the check for objects that other programs have removed
reading          the objects in the kernel, as text
leaving          removal while connections still need some objects, for another mode
cleanup          removal of all objects
kernel_settings  the settings that IPVS needs

rendering        what the kernel would hold for a plan, as text (pure)
oracle           the predicted effect of the rules on a packet (pure)
options          the options of this mode (pure)
mode             the `Mode`
"""

from kproxy_ipvs.mode import MODE
from kproxy_ipvs.options import IpvsOptions

__all__ = ["MODE", "IpvsOptions"]
