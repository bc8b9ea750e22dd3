"""The iptables mode: the rules of kube-proxy v1.36, in either variant of iptables.

names        chain names (pure)
hashed_names  those that contain a hash (pure)
rules        the rules of one service port (pure)
frame        the rules that belong to no service (pure)
transaction  the text for iptables-restore, from a plan or the difference of two (pure)
backend      one sync, and what it has to remember for the next
damage       the check for rules that other programs have removed
cleanup      removal of all rules, chains and settings of this mode

rendering    what the kernel would hold for a plan, as text (pure)
oracle       the predicted effect of the rules on a packet (pure)
options      the options of this mode (pure)
mode         the `Mode`
"""

from kproxy_iptables.mode import MODE
from kproxy_iptables.options import IptablesOptions

__all__ = ["MODE", "IptablesOptions"]
