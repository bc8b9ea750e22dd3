"""The rules and elements of one Service, in the order in which a packet meets them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kproxy.backend import ListedRule, Listing, Purpose, RuleLine, Sought, purposes
from kproxy_nftables.frame import BASE_CHAINS
from kproxy_nftables.names import NODE_PORT_IPS, TABLE
from kproxy_nftables.service_elements import Keys, Table, is_named, keys_of, looked_up

# In the order of hooks; a packet passes those of prerouting or those of output.
_HOOKS = (
    "filter-prerouting-pre-dnat",
    "nat-prerouting",
    "filter-output-pre-dnat",
    "nat-output",
    "filter-input",
    "filter-forward",
    "filter-output",
    "nat-postrouting",
)
_LEADS = re.compile(r"(?:jump|goto) ([^\s,}]+)")
_NO_SERVICES = (NODE_PORT_IPS,)  # sets whose elements belong to no Service
_AGAIN = "as above"
_MARKED = "leaves with this node's address"

PURPOSES = (
    Purpose("(filter|nat)-.*", "jump services$", "looks whether the packet is for a Service"),
    Purpose("(filter|nat)-.*", "jump firewall-check", "looks whether source ranges forbid it"),
    Purpose("filter-.*", "jump service-endpoints-check", "looks for frontends without endpoint"),
    Purpose("filter-.*", "jump nodeport-endpoints-check", "looks for node ports without endpoint"),
    Purpose("filter-.*", "jump cluster-ips-check", "looks for ports that no Service has"),
    Purpose("filter-.*", "jump checked-ips-check", "looks for what may have to be refused"),
    Purpose("nat-.*", "jump masquerading", "gives marked packets this node's address"),
    Purpose(".*", "@firewall-ips", "finds frontends with source ranges"),
    Purpose(".*", "@service-ips", "finds the frontend by address, protocol and port"),
    Purpose(".*", "@service-nodeports", "finds the node port, if the address is the node's"),
    Purpose(".*", "@no-endpoint-services", "finds frontends that have no endpoint"),
    Purpose(".*", "@no-endpoint-nodeports", "finds node ports that have no endpoint"),
    Purpose(".*", "@localhost-nodeport-reject-ports", "finds node ports rejected on localhost"),
    Purpose(".*", "@cluster-ips.* reject", "refuses other ports of a cluster IP"),
    Purpose(".*", "@cluster-ips.*mark set", "what comes from outside the cluster " + _MARKED),
    Purpose(".*", "@hairpin-connections", "an endpoint that reaches itself gets another source"),
    Purpose(".*", "@source-ranges drop", "drops sources that no range allows"),
    Purpose("cluster-ips-check|filter-.*", "drop", "drops packets to addresses of no Service"),
    Purpose(".*", "@(nodeport-)?short-circuit-ips", "may use all endpoints"),
    Purpose("map service-ips", "goto (local|nodeport-local)", "takes packets to local endpoints"),
    Purpose("map (service-ips|service-nodeports)", "", "takes packets to this frontend"),
    Purpose("map firewall-ips", "", "source ranges are checked first"),
    Purpose("map no-endpoint-.*", "drop", "drops: no endpoint is on this node"),
    Purpose("map no-endpoint-.*", "", "refuses: the Service has no endpoint"),
    Purpose("map localhost-.*", "", "rejects the node port on localhost"),
    Purpose("map .*short-circuit-ips", "", "pods and processes of this node use all endpoints"),
    Purpose("map .*endpoints-(tcp|udp|sctp)", "", "the endpoint of this slot"),
    Purpose("set cluster-ips", "", "the Service's cluster IP"),
    Purpose("set checked-ips", "", "an address whose packets may have to be refused"),
    Purpose("set hairpin-ips", "", "an endpoint on this node"),
    Purpose("set hairpin-connections", "", "an endpoint on this node, reached by itself"),
    Purpose("set source-ranges", "", "sources that may come in"),
    Purpose("set affinity-.*", "", "clients of this endpoint"),
    Purpose("external-.*", "goto service-.*pod traffic", "pods of this node use all endpoints"),
    Purpose("external-.*", "goto service-.*local traffic", "this node itself uses all endpoints"),
    Purpose("external-.*", "local traffic", "what this node itself sends " + _MARKED),
    Purpose("external-.*", "mark set", _MARKED + ": the policy is Cluster"),
    Purpose("external-.*", "goto local-", "clients outside get an endpoint of this node"),
    Purpose("external-.*", "goto service-", "chooses among all endpoints"),
    Purpose("firewall-.*", "", "drops sources that no range allows"),
    Purpose("(service|local)-.*", "@affinity-", "a known client goes back to its endpoint"),
    Purpose("(service|local)-.*", "numgen", "sends the connection to an endpoint at random"),
    Purpose("(service|local)-.*", "dnat", "sends the connection to the only endpoint"),
    Purpose("endpoint-.*", "update @", "remembers the client"),
    Purpose("endpoint-.*", "dnat", "sends the connection to the endpoint"),
    Purpose("(nodeport-)?masq-lb-.*", "mark set", _MARKED + ": the policy is Cluster"),
    Purpose("(nodeport-)?masq-lb-.*", "goto", "chooses among all endpoints"),
    Purpose("(nodeport-)?local-lb-.*", "jump", "pods and processes of this node come first"),
    Purpose("(nodeport-)?(local-)?lb-.*", "dnat", "sends the connection to an endpoint at random"),
    Purpose("(nodeport-)?short-circuit", "mark set", "what this node itself sends " + _MARKED),
    Purpose("masquerading|nat-postrouting", "mark", "gives marked packets this node's address"),
    Purpose("localhost-nodeport-reject-.*", "", "counts and rejects"),
    Purpose("reject-chain", "", "tells the client that nothing answers"),
)
_purpose = purposes(PURPOSES)


def service_rules(listing: Listing, sought: Sought) -> list[RuleLine]:
    """Return the rules and elements of a Service, read or rendered. See `Mode.service_rules`.

    In kube-proxy's layout its name is enough, though without its plans hairpins are left out.
    """
    table = dict(listing.get(TABLE, {}))
    keys = keys_of(table, sought)
    walk = _Walk(table, sought, keys)
    found = [line for chain in _HOOKS for line in walk.through(chain, 0)]
    return found if walk.met else []


class _Walk:
    """Follows jumps and elements. A chain that several lead to is shown once.

    `met` tells whether anything of the Service itself was found.
    """

    def __init__(self, table: Table, sought: Sought, keys: Keys) -> None:
        self._table = table
        self._sought = sought
        self._keys = keys
        self._shown: dict[str, bool] = {}  # whether a chain, set or map has anything to show
        self.met = False

    def through(self, chain: str, depth: int) -> Iterator[RuleLine]:
        """Yield the rules that a packet of the Service meets in a chain and beneath it."""
        self._shown[chain] = False
        for rule in self._table.get(f"chain {chain}", ()):
            lookups = [
                place
                for place in looked_up(self._table, rule.text)
                if place.split()[1] not in _NO_SERVICES and "affinity-" not in place
            ]
            below: list[RuleLine] = []
            again = False
            for place in lookups:
                known = self._shown.get(place)
                found = [] if known is not None else [*self._elements(place, depth + 1)]
                self._shown[place] = bool(known or found)
                again = again or bool(known)
                below += found
            if not all(self._shown[place] for place in lookups):
                continue  # no element is of the Service: its packets pass
            targets = _LEADS.findall(rule.text)
            led, led_again = self._led(targets, depth + 1)
            below += led
            again = again or led_again
            if targets and not lookups and not (below or again or self._is_own(targets)):
                continue
            self._shown[chain] = True
            purpose = _purpose(chain, rule.text)
            yield _line(f"chain {chain}", depth, rule, _told(purpose, again and not below))
            yield from below

    def _elements(self, place: str, depth: int) -> Iterator[RuleLine]:
        """Yield the elements of the Service in a set or map, with what each leads to."""
        name = place.split()[1]
        for element in self._table[place]:
            if self._keys.own(name, element.text):
                self.met = True
                led, again = self._led(_LEADS.findall(element.text), depth + 1)
                purpose = _told(_purpose(place, element.text), again and not led)
                yield _line(place, depth, element, purpose)
                yield from led

    def _led(self, targets: list[str], depth: int) -> tuple[list[RuleLine], bool]:
        """Return the rules in chains, and whether one of them was shown before."""
        found: list[RuleLine] = []
        again = False
        for target in dict.fromkeys(targets):
            if target in self._shown:
                again = again or self._shown[target]
            elif target not in BASE_CHAINS:
                found += self.through(target, depth)
        return found, again

    def _is_own(self, chains: list[str]) -> bool:
        return any(is_named(chain, self._sought) for chain in chains)


def _told(purpose: str, again: bool) -> str:
    return f"{purpose} ({_AGAIN})" if again else purpose


def _line(place: str, depth: int, rule: ListedRule, purpose: str) -> RuleLine:
    return RuleLine(
        table=TABLE,
        chain=place.removeprefix("chain "),
        depth=depth,
        rule=rule.text,
        purpose=purpose,
        packets=rule.packets,
    )
