"""Translates addresses and predictions to the words of the test tables, with the lab's names."""

from __future__ import annotations

from collections.abc import Mapping

from kproxy.address import Family, family_of
from kproxy.backend import rules_of
from kproxy.forwarding.network import HostKind, Packet
from kproxy.forwarding.oracle import predict
from kproxy.forwarding.plan import Plan
from kproxy.outcome import Outcome, Prediction
from tests.forwarding.plans import HOSTS, NETWORK, WEB_6, Web

_SERVICE_NAMES = {
    "cluster-ip": (Web().cluster_ip, WEB_6.cluster_ip),
    "external-ip": (Web().external_ips[0], WEB_6.external_ips[0]),
    "vip": (Web().vips[0], WEB_6.vips[0]),
}


def _names() -> dict[str, str]:
    """Return addresses by name; IPv6 names end in "/6". `gw-a` is node-a's gateway address."""
    names: dict[str, str] = {}
    for host in HOSTS:
        for address in host.addresses:
            name = host.name
            if host.kind is HostKind.NODE and address in host.gateways:
                name = host.name.replace("node", "gw")
            names[name + ("/6" if family_of(address) is Family.IPV6 else "")] = address
    for name, (ipv4, ipv6) in _SERVICE_NAMES.items():
        names |= {name: ipv4, f"{name}/6": ipv6}
    return names


_ADDRESS_OF = _names()
_NAME_OF = {address: name for name, address in _ADDRESS_OF.items()}


def packet(client: str, asks: str, *, protocol: str = "TCP", source: str = "") -> Packet:
    """Return a packet. `asks` and `source` may name an address: `node-a:30080`, `vip/6:80`."""
    address, port = asks.rsplit(":", 1)
    return Packet(
        client=client,
        address=_ADDRESS_OF.get(address, address),
        port=int(port),
        protocol=protocol,
        source=_ADDRESS_OF.get(source, source),
    )


def ask(
    plans: Mapping[str, Plan],
    client: str,
    asks: str,
    *,
    protocol: str = "TCP",
    source: str = "",
    mode: str = "iptables",
) -> str:
    """Return the oracle's answer in words."""
    asked = packet(client, asks, protocol=protocol, source=source)
    return in_words(predict(NETWORK, plans, asked, rules_of(mode)))


def in_words(prediction: Prediction) -> str:
    """Return a prediction in words.

    Examples: `pod-a sees outside, pod-c sees node-a (no reply)`; `refused by node-a`; `dropped at
    node-b`. Endpoints that fail follow in the same way: `10.9.9.9:80 refused`.
    """
    failing = [f"{name} {outcome.value}" for name, outcome in sorted(prediction.failing.items())]
    match prediction.outcome:
        case Outcome.REFUSED:
            return ", ".join([f"refused by {prediction.at}", *failing])
        case Outcome.DROPPED:
            return ", ".join([f"dropped at {prediction.at}", *failing])
        case _:
            seen = [
                f"{name} sees {_NAME_OF.get(source, source)}"
                + (" (no reply)" if name in prediction.unanswered else "")
                for name, source in sorted(prediction.sources.items())
            ]
            return ", ".join(seen + failing)
