"""The nftables mode: one table in each family, in one of two layouts.

names                names of the objects in the table (pure)
hashed_names         those that begin with a hash (pure)
words                parts of rules, named by their nft syntax (pure)
frame                the objects that do not depend on Services (pure)
kube_proxy_layout    the objects that one service port needs, as in kube-proxy (pure)
flat_layout          the same as elements of shared maps, and the frame of this layout (pure)
wanted               the part that is the same in both layouts (pure)
localhost            what rejects packets to node ports on loopback addresses (pure)
localhost_rejected   which of them (pure)
contents             the objects that all service ports need, and their changes (pure)
transaction          the order of objects in a transaction (pure)
backend              one sync
localhost_listeners, localhost_serving, localhost_proxy
                     the proxy for such node ports of TCP: which it listens at (pure), its place in
                     a sync, and its connections
damage               the check for objects that other programs have changed
support              the check for what kernel and tools can do

rendering            what the kernel would hold for a plan, as text (pure)
oracle               the predicted effect of the rules on a packet (pure)
options              the options of this mode (pure)
mode                 the `Mode`
"""

from kproxy_nftables.mode import MODE
from kproxy_nftables.options import NftablesOptions

__all__ = ["MODE", "NftablesOptions"]
