"""The answer to each question. Rows are as dig prints them, without TTL and class."""

from __future__ import annotations

from collections.abc import Iterable

import dns.name
import pytest
from dns.rcode import Rcode
from dns.rdatatype import RdataType
from dns.rrset import RRset
from hypothesis import given
from hypothesis import strategies as st

from kproxy.dns.records import TTL_S, Records
from kproxy.errors import BadInput
from tests.dns.cluster import SERVICES, SLICES, UPSTREAM, named, records

SVC = "svc.cluster.local."
WEB = f"web.default.{SVC}"
DB = f"db.default.{SVC}"
MIXED = f"mixed.default.{SVC}"
OUT = f"out.default.{SVC}"
SOA = "ns.dns.cluster.local. hostmaster.cluster.local. 7 7200 1800 86400 5"
OUTSIDE = ["A 192.0.2.53", "A 192.0.2.54"]
ALIAS = ["CNAME shop.example.com.", "CNAME www.example.com."]


def lines(rrsets: Iterable[RRset], *, owners: bool = False) -> list[str]:
    return [
        f"{rrset.name} {rrset.rdtype.name} {rdata}" if owners else f"{rrset.rdtype.name} {rdata}"
        for rrset in rrsets
        for rdata in rrset
    ]


def ask(name: str, rdtype: str, of: Records | None = None) -> list[str]:
    """Return the answer section. Asserts that there is no error and no authority section."""
    found = (of or records()).answer(dns.name.from_text(name), RdataType.from_text(rdtype))
    assert found.rcode is Rcode.NOERROR
    assert not found.authority
    return lines(found.answer)


ANSWERS = [  # name, type -> records
    # A Service with cluster IPs.
    (WEB, "A", ["A 10.96.0.20"]),
    (WEB, "AAAA", ["AAAA fd00:10:96::20"]),
    ("WEB.Default.svc.Cluster.LOCAL.", "A", ["A 10.96.0.20"]),
    (f"kube-dns.kube-system.{SVC}", "A", ["A 10.96.0.10"]),
    (f"api.prod.{SVC}", "A", ["A 10.96.0.30"]),
    (f"_http._tcp.{WEB}", "SRV", [f"SRV 0 50 80 {WEB}"]),
    (f"_METRICS._TCP.{WEB}", "SRV", [f"SRV 0 50 9090 {WEB}"]),
    (f"_dns._udp.kube-dns.kube-system.{SVC}", "SRV", [f"SRV 0 100 53 kube-dns.kube-system.{SVC}"]),
    (f"_dns._tcp.kube-dns.kube-system.{SVC}", "SRV", [f"SRV 0 100 53 kube-dns.kube-system.{SVC}"]),
    # all ports, named or not: not in the specification, but in CoreDNS
    (f"api.prod.{SVC}", "SRV", [f"SRV 0 100 443 api.prod.{SVC}"]),
    (WEB, "SRV", [f"SRV 0 25 80 {WEB}", f"SRV 0 25 9090 {WEB}"]),
    # its endpoints have names, too, as in CoreDNS
    (f"10-244-1-10.{WEB}", "A", ["A 10.244.1.10"]),
    # a headless Service: ready endpoints only
    (DB, "A", ["A 10.244.1.11", "A 10.244.2.11", "A 10.244.3.11"]),
    (DB, "AAAA", ["AAAA fd00:10:244:1::11"]),
    (f"db-0.{DB}", "A", ["A 10.244.1.11"]),
    (f"db-0.{DB}", "AAAA", ["AAAA fd00:10:244:1::11"]),
    (f"db-1.{DB}", "A", ["A 10.244.2.11"]),
    (f"10-244-3-11.{DB}", "A", ["A 10.244.3.11"]),
    (
        f"_metrics._tcp.{DB}",
        "SRV",
        [f"SRV 0 33 9100 {host}.{DB}" for host in ("db-0", "db-1", "10-244-3-11")],
    ),
    (f"db-1.{DB}", "SRV", [f"SRV 0 50 8080 db-1.{DB}", f"SRV 0 50 9100 db-1.{DB}"]),
    (f"portless.default.{SVC}", "A", ["A 10.244.1.15"]),
    # publishNotReadyAddresses shows in the slice as ready; unknown is ready, unless it terminates
    (MIXED, "A", [f"A 10.244.1.{last}" for last in (16, 17, 19, 20)]),
    (f"twin.{MIXED}", "A", ["A 10.244.1.19", "A 10.244.1.20"]),
    # ExternalName
    (OUT, "CNAME", ["CNAME shop.example.com."]),
    (OUT, "A", [*ALIAS, *OUTSIDE]),
    (OUT, "AAAA", [*ALIAS, "AAAA 2001:db8::53"]),
    (OUT, "TXT", ALIAS),
    (f"in.default.{SVC}", "A", [f"CNAME {WEB}", "A 10.96.0.20"]),
    # the world outside
    ("WWW.example.com.", "A", OUTSIDE),
    ("www.example.com.", "TXT", []),
    ("nothing.example.com.", "A", []),
    ("example.com.", "A", []),  # there are names below
    ("local.", "A", []),
    (".", "A", []),
    ("shop.example.com.", "A", ["CNAME www.example.com.", *OUTSIDE]),
    ("back.example.com.", "A", [f"CNAME {WEB}", "A 10.96.0.20"]),
    # addresses
    ("20.0.96.10.in-addr.arpa.", "PTR", [f"PTR {WEB}"]),
    ("11.1.244.10.in-addr.arpa.", "PTR", [f"PTR db-0.{DB}"]),
    ("11.3.244.10.IN-ADDR.arpa.", "PTR", [f"PTR 10-244-3-11.{DB}"]),
    ("10.1.244.10.in-addr.arpa.", "PTR", [f"PTR 10-244-1-10.{WEB}"]),
    (f"0.2.{'0.' * 18}6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa.", "PTR", [f"PTR {WEB}"]),
    # pods, whether there are any or not
    ("10-244-9-9.default.pod.cluster.local.", "A", ["A 10.244.9.9"]),
    ("fd00--9.default.pod.cluster.local.", "AAAA", ["AAAA fd00::9"]),
    ("FD00-0-0-0-0-0-0-9.default.pod.cluster.local.", "AAAA", ["AAAA fd00::9"]),
    # the zones
    ("dns-version.cluster.local.", "TXT", ['TXT "1.1.0"']),
    ("cluster.local.", "SOA", [f"SOA {SOA}"]),
    ("in-addr.arpa.", "SOA", [f"SOA {SOA}"]),
]


@pytest.mark.parametrize(("name", "rdtype", "expected"), ANSWERS)
def test_answer(name: str, rdtype: str, expected: list[str]) -> None:
    assert ask(name, rdtype) == expected


NODATA = [  # the name exists: in the zone of the last column
    (f"api.prod.{SVC}", "AAAA", "cluster.local."),
    (WEB, "TXT", "cluster.local."),
    (WEB, "CNAME", "cluster.local."),
    (WEB, "SOA", "cluster.local."),
    (WEB, "ANY", "cluster.local."),  # RFC 8482
    (f"10-244-1-10.{WEB}", "AAAA", "cluster.local."),
    (f"db-1.{DB}", "AAAA", "cluster.local."),
    (f"portless.default.{SVC}", "SRV", "cluster.local."),
    (f"_http._tcp.{WEB}", "A", "cluster.local."),
    ("dns-version.cluster.local.", "A", "cluster.local."),
    ("10-244-9-9.default.pod.cluster.local.", "AAAA", "cluster.local."),
    ("cluster.local.", "A", "cluster.local."),
    ("20.0.96.10.in-addr.arpa.", "A", "in-addr.arpa."),
    # nothing but names below
    (SVC, "A", "cluster.local."),
    ("pod.cluster.local.", "A", "cluster.local."),
    (f"default.{SVC}", "A", "cluster.local."),
    (f"prod.{SVC}", "SRV", "cluster.local."),
    (f"kube-public.{SVC}", "A", "cluster.local."),
    ("prod.pod.cluster.local.", "A", "cluster.local."),
    (f"_tcp.{WEB}", "SRV", "cluster.local."),
    (f"_tcp.{DB}", "A", "cluster.local."),
    ("96.10.in-addr.arpa.", "PTR", "in-addr.arpa."),
    ("0.0.d.f.ip6.arpa.", "PTR", "ip6.arpa."),
]
NXDOMAIN = [
    (f"nobody.default.{SVC}", "A", "cluster.local."),
    (f"web.prod.{SVC}", "A", "cluster.local."),
    (f"web.nowhere.{SVC}", "A", "cluster.local."),
    (f"nowhere.{SVC}", "A", "cluster.local."),
    ("nowhere.pod.cluster.local.", "A", "cluster.local."),
    ("10-0-0-1.nowhere.pod.cluster.local.", "A", "cluster.local."),
    ("no-address.default.pod.cluster.local.", "A", "cluster.local."),
    ("10-244-09-9.default.pod.cluster.local.", "A", "cluster.local."),
    (r"10\.244\.9\.9.default.pod.cluster.local.", "A", "cluster.local."),
    ("fe80--1%eth0.default.pod.cluster.local.", "AAAA", "cluster.local."),
    ("web.default.cluster.local.", "A", "cluster.local."),
    (
        "www.example.com.default.svc.cluster.local.",
        "A",
        "cluster.local.",
    ),  # a name with the search list appended
    ("www.example.com.cluster.local.", "A", "cluster.local."),
    # no ready endpoints: the specification wants no such name
    (f"empty.default.{SVC}", "A", "cluster.local."),
    (f"10-244-1-14.empty.default.{SVC}", "A", "cluster.local."),
    (f"db-2.{DB}", "A", "cluster.local."),
    (f"db-3.{DB}", "A", "cluster.local."),
    (f"leaving.{MIXED}", "A", "cluster.local."),
    (f"10-244-1-11.{DB}", "A", "cluster.local."),  # it has a hostname
    (f"bogus.{WEB}", "A", "cluster.local."),
    # no such port
    (f"_https._tcp.{WEB}", "SRV", "cluster.local."),
    (f"_http._udp.{WEB}", "SRV", "cluster.local."),
    (f"_udp.{WEB}", "SRV", "cluster.local."),
    (f"_._tcp.api.prod.{SVC}", "SRV", "cluster.local."),  # unnamed
    (f"_tcp.api.prod.{SVC}", "SRV", "cluster.local."),
    (f"http.tcp.{WEB}", "SRV", "cluster.local."),
    (f"a.b.c.{WEB}", "A", "cluster.local."),
    (f"endpoint.{OUT}", "CNAME", "cluster.local."),
    (f"numeric.default.{SVC}", "A", "cluster.local."),  # an address is no name
    ("21.0.96.10.in-addr.arpa.", "PTR", "in-addr.arpa."),
    ("12.1.244.10.in-addr.arpa.", "PTR", "in-addr.arpa."),  # not ready
    ("21.1.244.10.in-addr.arpa.", "PTR", "in-addr.arpa."),  # of no Service
    ("020.0.96.10.in-addr.arpa.", "PTR", "in-addr.arpa."),
    ("5.20.0.96.10.in-addr.arpa.", "PTR", "in-addr.arpa."),
    ("97.10.in-addr.arpa.", "PTR", "in-addr.arpa."),
    ("x.ip6.arpa.", "PTR", "ip6.arpa."),
    (f"4.1.0.0.0.6.a.0.f.f.f.f.{'0.' * 20}ip6.arpa.", "PTR", "ip6.arpa."),  # ::ffff:10.96.0.20
]


@pytest.mark.parametrize(
    ("rcode", "name", "rdtype", "zone"),
    [(Rcode.NOERROR, *row) for row in NODATA] + [(Rcode.NXDOMAIN, *row) for row in NXDOMAIN],
)
def test_there_is_nothing(rcode: Rcode, name: str, rdtype: str, zone: str) -> None:
    found = records().answer(dns.name.from_text(name), RdataType.from_text(rdtype))
    assert found.rcode is rcode
    assert found.authoritative
    assert not found.answer
    assert lines(found.authority, owners=True) == [f"{zone} SOA {SOA}"]


@pytest.mark.parametrize(
    ("name", "target", "authority"),
    [("astray", f"gone.default.{SVC}", [f"SOA {SOA}"]), ("unheard", "unheard.example.org.", [])],
)
def test_an_alias_of_nothing_is_told_together_with_the_nothing(
    name: str, target: str, authority: list[str]
) -> None:
    found = records().answer(dns.name.from_text(f"{name}.default.{SVC}"), RdataType.A)
    assert found.rcode is Rcode.NXDOMAIN
    assert lines(found.answer) == [f"CNAME {target}"]
    assert lines(found.authority) == authority


@pytest.mark.parametrize(
    ("name", "rcode"),
    [
        ("unheard.example.org.", Rcode.NXDOMAIN),
        ("below.www.example.com.", Rcode.NXDOMAIN),
        ("org.", Rcode.NXDOMAIN),
        (
            "web.default.",
            Rcode.NXDOMAIN,
        ),  # the last name that the C library asks for when it resolves `web.default`
        (f"circle.default.{SVC}", Rcode.SERVFAIL),
    ],
)
def test_what_is_not_answered(name: str, rcode: Rcode) -> None:
    found = records().answer(dns.name.from_text(name), RdataType.A)
    assert (found.rcode, found.answer, found.authority) == (rcode, (), ())


GLUE = [
    (f"_http._tcp.{WEB}", [f"{WEB} A 10.96.0.20", f"{WEB} AAAA fd00:10:96::20"]),
    (
        f"_http._tcp.{DB}",
        [
            f"db-0.{DB} A 10.244.1.11",
            f"db-1.{DB} A 10.244.2.11",
            f"10-244-3-11.{DB} A 10.244.3.11",
            f"db-0.{DB} AAAA fd00:10:244:1::11",
        ],
    ),
]


@pytest.mark.parametrize(("name", "expected"), GLUE)
def test_a_service_record_brings_the_addresses_of_its_targets(
    name: str, expected: list[str]
) -> None:
    found = records().answer(dns.name.from_text(name), RdataType.SRV)
    assert lines(found.additional, owners=True) == expected


def test_names_are_echoed_as_asked() -> None:
    name = dns.name.from_text("WeB.default.svc.cluster.local.")
    assert records().answer(name, RdataType.A).answer[0].name.labels == name.labels


@pytest.mark.parametrize(
    ("name", "rdtype", "ttl_s"),
    [(WEB, "A", TTL_S), (OUT, "A", TTL_S), ("dns-version.cluster.local.", "TXT", 28800)],
)
def test_time_to_live(name: str, rdtype: str, ttl_s: int) -> None:
    found = records().answer(dns.name.from_text(name), RdataType.from_text(rdtype))
    assert {rrset.ttl for rrset in found.answer} == {ttl_s}


def test_another_domain() -> None:
    of = records(domain="Lab.Example", namespaces=["staging"])
    assert ask("web.default.svc.lab.example.", "A", of) == ["A 10.96.0.20"]
    for name, rcode in [
        ("staging.svc.lab.example.", Rcode.NOERROR),
        ("kube-public.svc.lab.example.", Rcode.NXDOMAIN),
        (WEB, Rcode.NXDOMAIN),
    ]:
        assert of.answer(dns.name.from_text(name), RdataType.A).rcode is rcode


def test_a_name_too_long_for_dns_is_left_out() -> None:
    of = Records([named("a" * 66, cluster_ips=("10.96.0.99",))], [])
    found = of.answer(dns.name.from_text("99.0.96.10.in-addr.arpa."), RdataType.PTR)
    assert (found.rcode, found.answer) == (Rcode.NOERROR, ())


@pytest.mark.parametrize(
    "upstream",
    [
        {"a.example": ("b.example", "192.0.2.1")},
        {"a.example": ("b.example", "c.example")},
        {"a..example": ("192.0.2.1",)},
        {"a.example": ("b..example",)},
    ],
)
def test_an_upstream_zone_that_cannot_be_is_refused(upstream: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(BadInput, match=r"upstream zone: a\.+example: "):
        records(upstream=upstream)


KNOWN = [
    *(row[0] for row in [*ANSWERS, *NODATA, *NXDOMAIN]),
    *UPSTREAM,
    *(f"{each.metadata.name}.{each.metadata.namespace}.{SVC}" for each in SERVICES),
]
LABELS = st.sampled_from(
    sorted({label for name in KNOWN for label in name.split(".") if label} | {"x", "_", "_x", "--"})
)
NAMES = st.one_of(
    st.sampled_from(KNOWN),
    st.lists(LABELS, max_size=8).map(lambda found: ".".join([*found, "cluster.local."])),
    st.lists(LABELS, max_size=8).map(lambda found: ".".join([*found, SVC])),
    st.lists(LABELS, max_size=34).map(lambda found: ".".join([*found, "ip6.arpa."])),
)
TYPES = st.sampled_from([RdataType.A, RdataType.AAAA, RdataType.SRV, RdataType.PTR, RdataType.TXT])
ALL = Records(SERVICES, SLICES, upstream=UPSTREAM)
ZONES = [dns.name.from_text(zone) for zone in ("cluster.local.", "in-addr.arpa.", "ip6.arpa.")]


@given(name=NAMES.map(dns.name.from_text), rdtype=TYPES)
def test_whether_a_name_exists_does_not_depend_on_the_type(
    name: dns.name.Name, rdtype: RdataType
) -> None:
    """Assert also that all names above one that exists do exist: RFC 8020."""
    found = ALL.answer(name, rdtype)
    assert found.rcode is ALL.answer(name, RdataType.A).rcode
    if found.rcode is Rcode.NOERROR and any(name.is_subdomain(z) and name != z for z in ZONES):
        assert ALL.answer(name.parent(), RdataType.TXT).rcode is Rcode.NOERROR


OWNED = [
    *(each.spec.cluster_ip for each in SERVICES if each.spec.cluster_ip.startswith("10.")),
    *(
        address
        for each in SLICES
        for endpoint in each.endpoints
        for address in endpoint.addresses
        if address.startswith("10.")
    ),
]


@given(octets=st.tuples(*[st.integers(0, 255)] * 4))
def test_names_and_addresses_agree(octets: tuple[int, ...]) -> None:
    """Assert that the names of an address lead back to it."""
    for address in [".".join(map(str, octets)), *OWNED]:
        reverse = ".".join([*reversed(address.split(".")), "in-addr.arpa."])
        for rrset in ALL.answer(dns.name.from_text(reverse), RdataType.PTR).answer:
            for pointer in rrset:
                assert f"A {address}" in ask(str(pointer.target), "A", ALL)
