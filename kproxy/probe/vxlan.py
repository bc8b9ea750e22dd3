"""Packets inside VXLAN packets (RFC 7348), so that probes are seen inside a tunnel, too."""

from __future__ import annotations

PORTS = (8472, 4789)  # Linux and Flannel; IANA

_UDP, _UDP_HEADER, _VXLAN_HEADER, _ETHERNET_HEADER = 17, 8, 8, 14
_VNI_VALID = 0x08


def inner(data: bytes) -> bytes | None:
    """Return the IP packet that `data` (from its IP header on) carries; None if it is not VXLAN."""
    protocol, start = (data[9], (data[0] & 0xF) * 4) if data[0] >> 4 == 4 else (data[6], 40)
    vxlan = start + _UDP_HEADER
    if protocol != _UDP or len(data) <= vxlan + _VXLAN_HEADER + _ETHERNET_HEADER:
        return None
    port = int.from_bytes(data[start + 2 : start + 4], "big")
    if port not in PORTS or not data[vxlan] & _VNI_VALID:
        return None
    return data[vxlan + _VXLAN_HEADER + _ETHERNET_HEADER :]
