"""The prober: sends scapy's packets from inside the clients and watches every host at once.

Packets leave through a raw IP socket in the client's namespace; the kernel only adds the link
header. So a node's own packet passes its OUTPUT hook, like that of a process, and one of a pod or
an outside client goes over its real link into the node's PREROUTING.
The client's kernel does not know these connections and resets them, which closes them at the pod.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Protocol, Self

from kproxy.forwarding.network import Network, Packet
from kproxy.kernel.at_once import at_once
from kproxy.kernel.running import on_uml
from kproxy.outcome import Observation
from kproxy.probe.batch import Batch, Pending, tag_of
from kproxy.probe.entrance import checked
from kproxy.probe.journey import Journey, conclude, in_order
from kproxy.probe.taps import HasNamespace, Tap, await_stamps

# The kernel needs microseconds; a busy machine may need more. User-mode Linux stands still for as
# long as the machine has no time for it.
SILENCE_S = 2.0 if on_uml() else 0.5

# In turn for all probers, from a random start: conntrack and IPVS remember the flow of an earlier
# probe for minutes, also if another prober has sent it.
_serials = count(random.randrange(1 << 20))


class Probed(Protocol):
    """Hosts with namespaces, and the network they form. A Lab is one."""

    @property
    def hosts(self) -> Mapping[str, HasNamespace]: ...
    @property
    def network(self) -> Network: ...


class Prober:
    """Sends packets in one lab. A context manager: its taps stay open between calls and keep the
    namespaces of the lab alive.

    `silence_s`: a call ends when no packet of any open probe was seen for so long, if not before
    (see `kproxy.probe.batch`). Not thread-safe.
    """

    def __init__(self, probed: Probed, *, silence_s: float = SILENCE_S) -> None:
        self._probed = probed
        self._silence_s = silence_s
        self._taps: dict[str, Tap] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the taps. Takes about 10 ms: the kernel waits until no packet uses them."""
        taps, self._taps = self._taps, {}
        at_once([tap.close for tap in taps.values()], lambda _: None)

    def ask(self, packet: Packet) -> Observation:
        """Return the outcome of one packet; see `ask_many`."""
        return self.ask_many([packet])[0]

    def ask_many(self, packets: Sequence[Packet]) -> list[Observation]:
        """Send all packets at the same time and return their outcomes, in their order.

        Raises Unsupported for protocols that cannot be probed and without the privilege to watch
        packets, BadInput for an unknown client or something that is no address.
        """
        return [journey.observed for journey in self.follow_many(packets)]

    def follow_many(self, packets: Sequence[Packet], *, patient: bool = False) -> list[Journey]:
        """Do the same as `ask_many`, and return all sightings as well.

        `patient`: wait for `silence_s` in any case.
        """
        packets = checked(self._probed.network, self._probed.hosts, packets, echo=True)
        with self.watching() as batch:
            sent = [self._send(batch, packet) for packet in packets]
            batch.watch(patient=patient)
        network = self._probed.network
        return [
            Journey(
                tag=pending.probe.tag,
                source=pending.probe.source,
                source_port=pending.probe.source_port,
                seen=tuple(in_order(pending.seen)),
                observed=conclude(network, pending.client, pending.seen, pending.reply),
            )
            if pending
            else Journey(0, "", 0, (), Observation.dropped(packet.client, hops=(packet.client,)))
            for packet, pending in zip(packets, sent, strict=True)
        ]

    def watching(self) -> Batch:
        """Return an empty batch that watches all hosts: a context manager.

        It sees nothing more when the next one is begun.
        """
        return Batch(self.open_taps(), self._silence_s)

    def new_tag(self) -> int:
        """Return a tag that no probe has, for a SYN; never 0."""
        return tag_of(next(_serials)) or self.new_tag()

    def _send(self, batch: Batch, packet: Packet) -> Pending | None:
        namespace = self._probed.hosts[packet.client].namespace
        return batch.send(packet, namespace, next(_serials))

    def open_taps(self) -> list[Tap]:
        """Return the taps of all hosts, which have captured nothing yet. They stay its own."""
        hosts = self._probed.hosts
        for name, tap in list(self._taps.items()):
            if name not in hosts or hosts[name].namespace is not tap.namespace:
                self._taps.pop(name).close()
            else:
                tap.discard()
        first = not self._taps
        tapped = {tap.namespace for tap in self._taps.values()}
        for name, host in hosts.items():
            if host.namespace not in tapped:  # pods of the host network share their node's
                tapped.add(host.namespace)
                self._taps[name] = Tap(name, host.namespace)
        if first:
            await_stamps()
        return [*self._taps.values()]


def probe_many(probed: Probed, packets: Sequence[Packet]) -> list[Observation]:
    """Do the same as `Prober.ask_many`, for a single call."""
    with Prober(probed) as prober:
        return prober.ask_many(packets)
