"""The iptables mode: the rules of kube-proxy v1.36, in either variant of iptables.

names        chain names, which are hashes
rules        the rules of one service port (pure)
frame        the rules no service owns (pure)
transaction  plan, or difference of plans -> text for iptables-restore (pure)
backend      reads, writes, remembers as little as it can
damage, cleanup
"""

from kproxy_iptables.backend import IptablesBackend

__all__ = ["IptablesBackend"]
