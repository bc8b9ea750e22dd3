"""The records of a cluster's DNS, and its answers to questions. Pure.

Source: the Kubernetes DNS-Based Service Discovery specification 1.1.0, and where it leaves a choice
CoreDNS's plugin `kubernetes` (parse.go, kubernetes.go, reverse.go) with `pods insecure`, as kubeadm
sets it up. NXDOMAIN and NODATA follow RFC 2308 and RFC 8020.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from itertools import islice

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.name import Name
from dns.rcode import Rcode
from dns.rdata import Rdata
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.SOA import SOA
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.SRV import SRV
from dns.rrset import RRset
from msgspec import Struct

from kproxy.address import Family, family_of
from kproxy.api.addresses import canonical_ip
from kproxy.api.types import EndpointSlice, Service
from kproxy.dns.catalog import Catalog, Hit, PortLabels, reverse_labels
from kproxy.errors import BadInput

TTL_S = 5  # CoreDNS's default
SCHEMA_VERSION = "1.1.0"
SCHEMA_VERSION_TTL_S = 28800  # as in the specification's example, and in CoreDNS
INITIAL_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")

_IN = dns.rdataclass.IN
_CHAIN_MAX = 8  # CNAMEs in a row; CoreDNS has the same limit
_REVERSE_4 = dns.name.from_text("in-addr.arpa.")
_REVERSE_6 = dns.name.from_text("ip6.arpa.")
_DASHED = re.compile(r"[0-9a-f-]+")
_PROTOCOLS = ("tcp", "udp", "sctp")


class Answer(Struct, frozen=True, kw_only=True):
    """The sections of a response. `authoritative`: the name is in a zone of the cluster."""

    rcode: Rcode
    authoritative: bool
    answer: tuple[RRset, ...] = ()
    authority: tuple[RRset, ...] = ()
    additional: tuple[RRset, ...] = ()


class _Found(Struct, frozen=True):
    """The records of one type at a name that exists; NODATA if it is empty.

    `cname`: the name that this name is an alias of, whatever the type.
    """

    rdatas: Sequence[Rdata] = ()
    cname: Name | None = None
    glue: tuple[RRset, ...] = ()
    ttl_s: int = TTL_S


_NODATA = _Found()


class Records:
    """The names of one cluster at one moment.

    `upstream` stands for the Internet: a name -> its addresses, or the one name it is an alias of.
    No other name exists, so a mistyped name gets NXDOMAIN, as in a real cluster, whose DNS asks
    the Internet. A namespace exists if it is in `namespaces` or a Service is in it.
    `serial` is the serial number of the zones; the caller may increase it with each change.
    """

    def __init__(
        self,
        services: Iterable[Service],
        slices: Iterable[EndpointSlice],
        *,
        domain: str = "cluster.local",
        upstream: Mapping[str, Sequence[str]] | None = None,
        namespaces: Iterable[str] = INITIAL_NAMESPACES,
        serial: int = 1,
    ) -> None:
        """Index the objects. Raises BadInput for an invalid upstream zone.

        Raises dns.exception.DNSException for an invalid domain.
        """
        self._catalog = Catalog(services, slices)
        self._domain = dns.name.from_text(domain)
        self._zones = (self._domain, _REVERSE_4, _REVERSE_6)
        self._namespaces = {*namespaces, *(key[0] for key in self._catalog.services)}
        self._upstream = _upstream_zone(upstream or {})
        self._above = {
            parent for name in (*self._zones, *self._upstream) for parent in _above(name)
        }
        self._serial = serial

    def answer(self, name: Name, rdtype: RdataType) -> Answer:
        """Return the answer to a question of class IN. Names are compared without regard to case.

        No SOA comes with names outside the cluster, so no client caches that they do not exist.
        """
        chain: list[RRset] = []
        authoritative = self._zone(name) is not None
        for _ in range(_CHAIN_MAX + 1):
            zone = self._zone(name)
            found = self._find(name, rdtype, zone)
            if found is None:
                return Answer(
                    rcode=Rcode.NXDOMAIN,  # of the last name in the chain: RFC 6604
                    authoritative=authoritative,
                    answer=tuple(chain),
                    authority=self._soa(zone) if zone is not None else (),
                )
            if found.cname is not None:
                chain.append(_rrset(name, [_cname(found.cname)]))
                if rdtype != RdataType.CNAME:
                    name = found.cname
                    continue
            elif found.rdatas:
                chain.append(_rrset(name, found.rdatas, found.ttl_s))
            elif zone is not None:
                return Answer(
                    rcode=Rcode.NOERROR,
                    authoritative=authoritative,
                    answer=tuple(chain),
                    authority=self._soa(zone),
                )
            return Answer(
                rcode=Rcode.NOERROR,
                authoritative=authoritative,
                answer=tuple(chain),
                additional=found.glue,
            )
        # The chain is a loop, or as long as one. A resolver would answer the same.
        return Answer(rcode=Rcode.SERVFAIL, authoritative=False)

    def _zone(self, name: Name) -> Name | None:
        return next((zone for zone in self._zones if name.is_subdomain(zone)), None)

    def _find(self, name: Name, rdtype: RdataType, zone: Name | None) -> _Found | None:
        """Return the records at a name; None if there is no such name."""
        if zone is None:
            return self._in_upstream(name, rdtype)
        if name == zone:
            return _of_type(rdtype, [self._soa_data()])
        # The labels nearest to the zone are first: they decide what the others mean.
        labels = [
            label.decode("ascii", errors="replace").lower()
            for label in reversed(name.relativize(zone).labels)
        ]
        if zone != self._domain:
            return self._reverse(labels, zone, rdtype)
        match labels:
            case ["dns-version"]:
                text = TXT(_IN, RdataType.TXT, (SCHEMA_VERSION.encode(),))
                found = _of_type(rdtype, [text])
                return _Found(found.rdatas, ttl_s=SCHEMA_VERSION_TTL_S) if found.rdatas else found
            case ["svc" | "pod"]:
                return _NODATA
            case ["svc" | "pod", namespace] if namespace in self._namespaces:
                return _NODATA
            case ["pod", namespace, pod] if namespace in self._namespaces:
                return _pod(pod, rdtype)
            case ["svc", namespace, service, *rest]:
                return self._below_service((namespace, service), rest, rdtype)
        return None

    def _below_service(
        self, key: tuple[str, str], rest: list[str], rdtype: RdataType
    ) -> _Found | None:
        """Return the records at or below a Service's name; None if there is no such name.

        `rest`: the labels left of the Service's, from right to left.
        """
        service = self._catalog.services.get(key)
        if service is None:
            return None
        if service.spec.type == "ExternalName":
            return None if rest else _external(service.spec.external_name)
        match rest:
            case []:
                return self._addressed(key, self._catalog.hits(key, None, PortLabels()), rdtype)
            case [protocol] if protocol.startswith("_") and protocol[1:] in _PROTOCOLS:
                return _NODATA if self._catalog.has_protocol(key, protocol[1:]) else None
            case [host]:
                return self._addressed(key, self._catalog.hits(key, host, PortLabels()), rdtype)
            case [protocol, port] if protocol[:1] == port[:1] == "_" and protocol[1:] and port[1:]:
                hits = self._catalog.hits(key, None, PortLabels(port[1:], protocol[1:]))
                found = self._addressed(key, hits, RdataType.SRV)
                return found if rdtype == RdataType.SRV or found is None else _NODATA
        return None

    def _addressed(self, key: tuple[str, str], hits: list[Hit], rdtype: RdataType) -> _Found | None:
        """Return the records of `rdtype` at a name that leads to `hits`; None if there are none."""
        if not hits:
            return None
        if rdtype == RdataType.SRV:
            return self._srv(key, hits)
        addresses = dict.fromkeys(hit.address for hit in hits)
        return _of_type(rdtype, [_address(address) for address in addresses])

    def _srv(self, key: tuple[str, str], hits: list[Hit]) -> _Found:
        """Return the SRV records of `hits`, with their targets' addresses as glue.

        The weights are CoreDNS's: hits of two families at one target have one record.
        """
        weight = max(1, 100 // len(hits))
        targets: dict[tuple[Name, int], None] = {}
        glue: dict[tuple[Name, RdataType], dict[str, Rdata]] = {}
        for hit in hits:
            target = self._service_name((hit.host, *reversed(key)) if hit.host else key[::-1])
            if target is None or not hit.port:
                continue
            targets[target, hit.port] = None
            address = _address(hit.address)
            glue.setdefault((target, address.rdtype), {})[hit.address] = address
        return _Found(
            rdatas=[SRV(_IN, RdataType.SRV, 0, weight, port, target) for target, port in targets],
            glue=tuple(_rrset(name, [*each.values()]) for (name, _), each in glue.items()),
        )

    def _reverse(self, labels: list[str], zone: Name, rdtype: RdataType) -> _Found | None:
        address = _reverse_address(labels, zone)
        if owners := self._catalog.owners.get(address):
            names = (self._service_name(labels) for labels in owners)
            return _of_type(rdtype, [_ptr(name) for name in names if name is not None])
        return _NODATA if tuple(labels) in self._catalog.reverse_prefixes else None

    def _in_upstream(self, name: Name, rdtype: RdataType) -> _Found | None:
        there = self._upstream.get(name)
        if there is None:
            return _NODATA if name in self._above else None
        if isinstance(there, Name):
            return _Found(cname=there)
        return _of_type(rdtype, there)

    def _service_name(self, labels: Iterable[str]) -> Name | None:
        """Return the name; None if it is too long for DNS, which has 63 characters for a label.

        Services that kproxy takes may have names of 66 characters.
        """
        try:
            return Name([*(label.encode() for label in labels), b"svc", *self._domain.labels])
        except (dns.name.LabelTooLong, dns.name.NameTooLong):
            return None

    def _soa(self, zone: Name) -> tuple[RRset, ...]:
        return (_rrset(zone, [self._soa_data()]),)

    def _soa_data(self) -> SOA:
        """Return CoreDNS's SOA. Its last number is how long negative answers may be cached."""
        server = Name([b"ns", b"dns", *self._domain.labels])
        mailbox = Name([b"hostmaster", *self._domain.labels])
        return SOA(_IN, RdataType.SOA, server, mailbox, self._serial, 7200, 1800, 86400, TTL_S)


def _external(name: str) -> _Found | None:
    """Return an alias; None for an address, which Kubernetes lets through as a name.

    CoreDNS has no record for one either.
    """
    if canonical_ip(name):
        return None
    try:
        return _Found(cname=dns.name.from_text(name))
    except dns.exception.DNSException:
        return None


def _pod(label: str, rdtype: RdataType) -> _Found | None:
    """Return the address that a label spells, of any pod or none; None if it spells none.

    The specification calls these names deprecated but required.
    """
    if not _DASHED.fullmatch(label):
        return None
    separator = "." if label.count("-") == 3 and "--" not in label else ":"
    try:
        address = str(ip_address(label.replace("-", separator)))
    except ValueError:
        return None
    return _of_type(rdtype, [_address(address)])


def _reverse_address(labels: list[str], zone: Name) -> str:
    """Return the address in its canonical form; "" if `labels` are not a complete address."""
    if zone == _REVERSE_4:
        text = ".".join(labels)
    else:
        digits = iter(labels)
        text = ":".join("".join(islice(digits, 4)) for _ in range(8))
    address = canonical_ip(text)
    # Each address has one name: names with leading zeros, or of IPv4-mapped addresses, are not it.
    return address if address and reverse_labels(address) == tuple(labels) else ""


def _upstream_zone(upstream: Mapping[str, Sequence[str]]) -> dict[Name, Name | list[Rdata]]:
    zone: dict[Name, Name | list[Rdata]] = {}
    problems = []
    for text, values in upstream.items():
        addresses = [canonical_ip(value) for value in values]
        try:
            if all(addresses):
                zone[dns.name.from_text(text)] = [_address(address) for address in addresses]
            elif len(values) == 1:
                zone[dns.name.from_text(text)] = dns.name.from_text(values[0])
            else:
                problems.append(f"upstream zone: {text}: either addresses, or one name")
        except dns.exception.DNSException as error:
            problems.append(f"upstream zone: {text}: {error}")
    if problems:
        raise BadInput(problems)
    return zone


def _above(name: Name) -> Iterator[Name]:
    while name != dns.name.root:
        name = name.parent()
        yield name


def _of_type(rdtype: RdataType, rdatas: Iterable[Rdata]) -> _Found:
    return _Found([rdata for rdata in rdatas if rdata.rdtype == rdtype])


def _address(text: str) -> Rdata:
    if family_of(text) is Family.IPV6:
        return AAAA(_IN, RdataType.AAAA, text)
    return A(_IN, RdataType.A, text)


def _cname(target: Name) -> Rdata:
    return CNAME(_IN, RdataType.CNAME, target)


def _ptr(target: Name) -> Rdata:
    return PTR(_IN, RdataType.PTR, target)


def _rrset(name: Name, rdatas: Sequence[Rdata], ttl_s: int = TTL_S) -> RRset:
    return dns.rrset.from_rdata_list(name, ttl_s, rdatas)
