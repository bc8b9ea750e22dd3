"""The packets that are wanted among those of a whole node. Pure."""

from __future__ import annotations

from msgspec import Struct

from kproxy.address import Family, family_of

PROTOCOLS = ("TCP", "UDP", "SCTP", "ICMP")


class PacketFilter(Struct, frozen=True, kw_only=True):
    """The ends of the packets that begin a connection. "" and 0 are for any.

    Addresses are canonical, and of one family. A filter with a port has no ICMP.
    """

    protocols: tuple[str, ...] = PROTOCOLS
    source: str = ""
    source_port: int = 0
    destination: str = ""
    destination_port: int = 0

    @property
    def families(self) -> tuple[Family, ...]:
        """Return the families of the packets, both if no address is given."""
        address = self.source or self.destination
        return (family_of(address),) if address else tuple(Family)

    def takes(
        self, protocol: str, source: str, source_port: int, destination: str, destination_port: int
    ) -> bool:
        """Tell whether a packet with these ends is one of them."""
        return (
            protocol in self.protocols
            and self.source in ("", source)
            and self.source_port in (0, source_port)
            and self.destination in ("", destination)
            and self.destination_port in (0, destination_port)
        )
