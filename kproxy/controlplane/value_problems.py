"""The API server's checks of names, ports and addresses, in its words.

Each function returns the details of the problems of one value; none if it is valid. The caller adds
the field.
Source: apimachinery pkg/util/validation (validation.go, ip.go) and pkg/api/validate/content
(kube.go); k8s.io/utils/net for the parsers
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from kproxy.api.addresses import canonical_ip, parse_cidr, parse_ip

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_NAME = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = rf"({_NAME})?"
_MOST_LABEL, _MOST_SUBDOMAIN, _MOST_PORT_NAME, _MOST_PORT = 63, 253, 15, 65535
_ENDS = "and must start and end with an alphanumeric character"
_QUALIFIED = (
    f"must consist of alphanumeric characters, '-', '_' or '.', {_ENDS}"
    " (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is"
    f" '{_NAME}')"
)
_NOT_QUALIFIED = (
    f"a valid label key {_QUALIFIED} with an optional DNS subdomain prefix and '/'"
    " (e.g. 'example.com/MyName')"
)
_NOT_A_LABEL = (
    f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', {_ENDS}"
    f" (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_NOT_A_SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.',"
    f" {_ENDS} (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_WILDCARD = rf"\*\.{_SUBDOMAIN}"
_NOT_A_WILDCARD = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which"
    " must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric"
    f" character (e.g. '*.example.com', regex used for validation is '{_WILDCARD}')"
)
_NOT_A_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.',"
    f" {_ENDS} (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is"
    f" '{_VALUE}')"
)
_NOT_AN_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_NOT_A_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


@lru_cache(maxsize=1024)
def label_problems(text: str) -> tuple[str, ...]:
    """Judge a DNS label."""
    found = _too_long(text, _MOST_LABEL)
    if re.fullmatch(_LABEL, text):
        return found
    dotted = re.fullmatch(_SUBDOMAIN, text)
    return (*found, "must not contain dots" if dotted else _NOT_A_LABEL)


@lru_cache(maxsize=8192)
def subdomain_problems(text: str) -> tuple[str, ...]:
    """Judge a DNS name."""
    found = _too_long(text, _MOST_SUBDOMAIN)
    return found if re.fullmatch(_SUBDOMAIN, text) else (*found, _NOT_A_SUBDOMAIN)


def wildcard_problems(text: str) -> tuple[str, ...]:
    """Judge a DNS name whose first part is `*`."""
    found = _too_long(text, _MOST_SUBDOMAIN)
    return found if re.fullmatch(_WILDCARD, text) else (*found, _NOT_A_WILDCARD)


@lru_cache(maxsize=1024)
def qualified_name_problems(text: str) -> tuple[str, ...]:
    """Judge a name with an optional prefix, such as a label's key."""
    prefix, slash, name = text.partition("/")
    if "/" in name:
        return (_NOT_QUALIFIED,)
    found: tuple[str, ...] = ()
    if not slash:
        name = prefix
    elif not prefix:
        found += ("prefix part must be non-empty",)
    else:
        told = _too_long(prefix, _MOST_SUBDOMAIN, "bytes")
        if not re.fullmatch(_SUBDOMAIN, prefix):
            told += (_NOT_A_SUBDOMAIN,)
        found += tuple(f"prefix part {each}" for each in told)
    if not name:
        found += ("name part must be non-empty",)
    found += tuple(f"name part {each}" for each in _too_long(name, _MOST_LABEL, "bytes"))
    return found if re.fullmatch(_NAME, name) else (*found, f"name part {_QUALIFIED}")


@lru_cache(maxsize=1024)
def label_value_problems(text: str) -> tuple[str, ...]:
    found = _too_long(text, _MOST_LABEL, "bytes")
    return found if re.fullmatch(_VALUE, text) else (*found, _NOT_A_VALUE)


def domain_problems(text: str) -> tuple[str, str] | None:
    """Judge a domain of several labels; return the part at fault, and why."""
    name = text.removesuffix(".")
    if found := subdomain_problems(name):
        return name, ",".join(found)
    labels = name.split(".")
    if len(labels) < 2:
        return name, "should be a domain with at least two segments separated by dots"
    for label in labels:
        if found := label_problems(label):
            return label, ",".join(found)
    return None


def port_problems(number: int) -> tuple[str, ...]:
    return () if 1 <= number <= _MOST_PORT else (f"must be between 1 and {_MOST_PORT}, inclusive",)


def port_name_problems(text: str) -> tuple[str, ...]:
    """Judge the name of a container's port."""
    return tuple(
        told
        for wrong, told in (
            (len(text) > _MOST_PORT_NAME, f"must be no more than {_MOST_PORT_NAME} characters"),
            (
                not re.fullmatch(r"[-a-z0-9]+", text),
                "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
            ),
            (not re.search(r"[a-z]", text), "must contain at least one letter (a-z)"),
            ("--" in text, "must not contain consecutive hyphens"),
            (
                text[:1] == "-" or text[-1:] == "-",
                "must not begin or end with a hyphen",
            ),
        )
        if wrong
    )


def ip_problems(text: str, *, canonical: bool = False) -> tuple[str, ...]:
    """Judge an address as since StrictIPCIDRValidation; `canonical` as in newer fields."""
    if text and text == canonical_ip(text):
        return ()
    address = parse_ip(text)
    if address is None:
        return (_NOT_AN_IP,)
    try:
        strict = ip_address(text)
    except ValueError:
        return ("must not have leading 0s",)
    if isinstance(strict, IPv6Address) and strict.ipv4_mapped:
        return ("must not be an IPv4-mapped IPv6 address",)
    if canonical and text != str(address):
        return (f'must be in canonical form ("{address}")',)
    return ()


def cidr_problems(text: str, *, canonical: bool = False) -> tuple[str, ...]:
    """Judge a range as since StrictIPCIDRValidation; `canonical` as in newer fields."""
    network = parse_cidr(text)
    if network is None:
        return (_NOT_A_CIDR,)
    address, _, length = text.partition("/")
    try:
        strict = ip_address(address)
        padded = length != str(int(length))
    except ValueError:
        padded = True
    if padded:
        return ("must not have leading 0s in IP or prefix length",)
    if isinstance(strict, IPv6Address) and strict.ipv4_mapped:
        return ("must not have an IPv4-mapped IPv6 address",)
    if ip_network(text, strict=False).network_address != strict:
        return ("must not have bits set beyond the prefix length",)
    if canonical and text != str(network):
        return (f'must be in canonical form ("{network}")',)
    return ()


def path_segment_problems(text: str) -> tuple[str, ...]:
    """Judge a name that becomes a part of a path."""
    if text in (".", ".."):
        return (f"may not be '{text}'",)
    return tuple(f"may not contain '{each}'" for each in "/%" if each in text)


def endpoint_ip_problems(text: str) -> tuple[str, ...]:
    """Judge the use of an address for an endpoint, or as an external one."""
    address = ip_address(canonical_ip(text) or "0.0.0.1")
    if not canonical_ip(text):
        return ("must be a valid IP address",)
    if isinstance(address, IPv6Address):
        multicast = int(address) >> 112 & 0xFF0F == 0xFF02
    else:
        multicast = int(address) >> 8 == 0xE00000
    return tuple(
        told
        for special, told in (
            (address.is_unspecified, f"may not be unspecified ({text})"),
            (address.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
            (
                address.is_link_local,
                "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
            ),
            (
                multicast,
                "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
            ),
        )
        if special
    )


def _too_long(text: str, most: int, unit: str = "characters") -> tuple[str, ...]:
    """Judge the length; the server's newer functions, those of labels, say "bytes"."""
    return (f"must be no more than {most} {unit}",) if len(text.encode()) > most else ()
