"""Checks of one ServiceCIDR or IPAddress, in the words of the API server.

Addresses must be canonical, unlike those of older fields, which are read liberally.
Source: k8s.io/kubernetes pkg/apis/networking/validation (validateServiceCIDRSpec,
ValidateIPAddress); IsValidCIDR, IsValidIP
"""

from __future__ import annotations

from msgspec.json import encode

from kproxy.address import Family, family_of
from kproxy.api.addresses import canonical_ip, parse_cidr, parse_ip
from kproxy.api.checks import altered, check_name
from kproxy.api.names import subdomain_problem
from kproxy.api.problems import Report
from kproxy.api.types import IPAddress, ServiceCIDR

_FIELD = "spec.cidrs"
_ONE_EACH = (
    "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
)


def check_service_cidr(obj: ServiceCIDR, report: Report) -> ServiceCIDR:
    """Return the ServiceCIDR without a namespace. Faults go to `report`."""
    check_name(report, "metadata.name", obj.metadata.name, subdomain_problem)
    cidrs = obj.spec.cidrs
    shown = encode({"CIDRs": cidrs}).decode()  # as the API server prints its own type
    if not cidrs:
        report.add(_FIELD, "Required value: at least one CIDR required")
    elif len(cidrs) > 2:
        report.add(_FIELD, f"Invalid value: {shown}: may only hold up to 2 values")
    elif len(cidrs) == 2 and not _is_dual(cidrs):
        report.add(_FIELD, f"Invalid value: {shown}: {_ONE_EACH}")
    else:
        for i, text in enumerate(cidrs):
            if told := _cidr_problem(text):
                report.add(f"{_FIELD}[{i}]", f"Invalid value: {encode(text).decode()}: {told}")
    return altered(obj, metadata=altered(obj.metadata, namespace=""))


def check_ip_address(obj: IPAddress, report: Report) -> IPAddress:
    """Return the IPAddress without a namespace. Faults go to `report`."""
    name, parent = obj.metadata.name, obj.spec.parent_ref
    canonical = canonical_ip(name)
    if name != canonical:
        told = f"must be in canonical form ({encode(canonical).decode()})"
        if not canonical:
            told = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        report.add("metadata.name", f"Invalid value: {encode(name).decode()}: {told}")
    elif not name:
        report.add("metadata.name", "missing")
    if parent is None:
        report.add("spec.parentRef", "Required value")
    else:
        if not parent.resource:
            report.add("spec.parentRef.resource", "Required value")
        if not parent.name:
            report.add("spec.parentRef.name", "Required value")
    return altered(obj, metadata=altered(obj.metadata, namespace=""))


def _is_dual(cidrs: tuple[str, ...]) -> bool:
    networks = [parse_cidr(each) for each in cidrs]
    return {each.version for each in networks if each} == {4, 6}


def _cidr_problem(text: str) -> str:
    """Return why a text is not the canonical form of a range; "" if it is."""
    written, _, length = text.partition("/")
    network, address = parse_cidr(text), parse_ip(written)
    if network is None or address is None:
        return "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
    mapped = address.version == 4 and family_of(written) is Family.IPV6
    if length != str(int(length)) or (
        address.version == 4 and not mapped and written != str(address)
    ):
        return "must not have leading 0s in IP or prefix length"
    if mapped:
        return "must not have an IPv4-mapped IPv6 address"
    if address != network.network_address:
        return "must not have bits set beyond the prefix length"
    if text != str(network):
        return f"must be in canonical form ({encode(str(network)).decode()})"
    return ""
