"""The iptables mode: the rules of kube-proxy v1.36, in either variant of iptables.

names        chain names, which are hashes
rules        the rules of one service port (pure)
frame        the rules no service owns (pure)
transaction  plan, or difference of plans -> text for iptables-restore (pure)
backend      reads, writes, remembers as little as it can
damage, cleanup

oracle, options, mode: what packets meet (pure), what may be set, all of it as a `Mode`
"""

from kproxy_iptables.backend import IptablesBackend
from kproxy_iptables.mode import MODE
from kproxy_iptables.options import IptablesOptions

__all__ = ["MODE", "IptablesBackend", "IptablesOptions"]
