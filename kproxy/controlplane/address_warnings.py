"""The warnings of the API server about addresses and ranges that are not in canonical form.

Source: GetWarningsForIP and GetWarningsForCIDR of apimachinery, pkg/util/validation/ip.go
"""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.address import Family, family_of
from kproxy.api.addresses import canonical_ip, parse_cidr, parse_ip
from kproxy.api.go import quoted

_FUTURE = "will be considered invalid in a future Kubernetes release: use"


def ip_list_warnings(field: str, texts: tuple[str, ...]) -> Iterator[str]:
    for i, text in enumerate(texts):
        yield from ip_warnings(f"{field}[{i}]", text)


def ip_warnings(field: str, text: str) -> Iterator[str]:
    """Yield the warning about an address that is not in canonical form; none if it is no address.

    Leading zeros and IPv4-mapped addresses are only found in objects that had them before.
    """
    canonical = canonical_ip(text)
    if canonical in (text, ""):
        return
    if family_of(canonical) is Family.IPV6:
        told = f"should be in RFC 5952 canonical format ({quoted(canonical)})"
        yield f"{field}: IPv6 address {quoted(text)} {told}"
    else:
        yield f"{field}: non-standard IP address {quoted(text)} {_FUTURE} {quoted(canonical)}"


def cidr_list_warnings(field: str, texts: tuple[str, ...]) -> Iterator[str]:
    for i, text in enumerate(texts):
        yield from cidr_warnings(f"{field}[{i}]", text)


def cidr_warnings(field: str, text: str) -> Iterator[str]:
    """Yield the warnings about a range that has host bits, or is not in canonical form."""
    written, _, length = text.partition("/")
    network, address = parse_cidr(text), parse_ip(written)
    if network is None or address is None or text == str(network):
        return
    mapped = address.version == 4 and family_of(written) is Family.IPV6
    told = False
    if address != network.network_address:
        told = True
        bits = 128 if mapped else address.max_prefixlen
        other = quoted(f"{address}/{bits}")
        ambiguous = f"is ambiguous in this context (should be {quoted(str(network))} or {other}?)"
        yield f"{field}: CIDR value {quoted(text)} {ambiguous}"
    zeros = length != str(int(length)) or (address.version == 4 and written != str(address))
    if mapped or zeros:
        yield f"{field}: non-standard CIDR value {quoted(text)} {_FUTURE} {quoted(str(network))}"
    elif not told:
        told_form = f"should be in RFC 5952 canonical format ({quoted(str(network))})"
        yield f"{field}: IPv6 CIDR value {quoted(text)} {told_form}"
