"""Programs in a pod ask by name, in each mode: dig, libc's getaddrinfo, curl."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kproxy.address import Family
from kproxy.dns import resolv_conf
from kproxy.errors import KernelRefused
from kproxy.lab import service
from kproxy.lab.pods.process import resolve
from kproxy.store import Update
from netns_tests.dns.dns_lab import HTTP, MANY, WWW, DnsLab, dns_lab
from netns_tests.modes import IPTABLES, MODES, NFTABLES, Mode

WEB, DB, SHOP = (f"{name}.default.svc.cluster.local" for name in ("web", "db", "shop"))


@pytest.fixture(scope="module", params=MODES, ids=str)
def cluster(request: pytest.FixtureRequest) -> Iterator[DnsLab]:
    with dns_lab(request.param) as up:
        yield up


def test_dig(cluster: DnsLab) -> None:
    """One dig asks all questions: each dig is a process, and some machines are slow."""
    questions = (
        [WEB, "A"],
        [WEB, "AAAA", "+tcp"],
        [DB, "A"],
        [f"_http._tcp.{WEB}", "SRV"],
        ["-x", "10.96.0.30"],
        [SHOP, "CNAME"],
    )
    assert cluster.dig("+short", *(word for each in questions for word in each)) == sorted(
        [
            "10.96.0.20",
            "fd00:10:96::20",
            *(cluster.lab.pods[name].addresses[Family.IPV4] for name in ("web-1", "web-2")),
            f"0 50 80 {WEB}.",
            "web.prod.svc.cluster.local.",
            f"{WWW}.",
        ]
    )


WEB_IPS = ["10.96.0.20", "fd00:10:96::20"]
PROD_IPS = ["10.96.0.30", "fd00:10:96::30"]
FOUND = [  # name, the pod's Kubernetes namespace -> addresses
    ("web", "default", WEB_IPS),
    ("web", "prod", PROD_IPS),
    ("nobody.default", "default", []),
]


@pytest.mark.parametrize(("name", "namespace", "expected"), FOUND)
def test_getaddrinfo(cluster: DnsLab, name: str, namespace: str, expected: list[str]) -> None:
    assert cluster.resolve(name, namespace) == expected


def test_getaddrinfo_finds_all_pods_of_a_headless_service(cluster: DnsLab) -> None:
    assert cluster.resolve("db") == cluster.pod_addresses("web-1", "web-2")


def test_libc_asks_again_over_tcp(cluster: DnsLab) -> None:
    """The C library offers 512 bytes, and these addresses take ten times as much."""
    assert len(cluster.resolve("many")) == MANY


def test_names_of_the_world_outside(cluster: DnsLab) -> None:
    assert cluster.resolve("shop") == sorted(cluster.lab.clients["outside"].addresses.values())
    assert cluster.resolve("www.example.org") == []


ASKED = [  # the pod's Kubernetes namespace, names -> who may answer
    (
        "default",
        ("web", "web.default", "web.default.svc", WEB, f"{WEB}.", "db"),
        {"web-1", "web-2"},
    ),
    ("prod", ("web", "web.prod"), {"prod-1"}),
    ("default", ("shop", WWW), {"outside"}),
]


@pytest.mark.parametrize(("namespace", "names", "who"), ASKED)
@pytest.mark.parametrize("family", ["-4", "-6"])
def test_curl(
    cluster: DnsLab, family: str, namespace: str, names: tuple[str, ...], who: set[str]
) -> None:
    urls = [f"http://{name}" for name in names]
    answered = cluster.curl(family, *urls, namespace=namespace)
    assert len(answered) == len(urls)
    assert set(answered) <= who


def test_the_next_question_is_answered_by_the_present_objects(cluster: DnsLab) -> None:
    new = service("new", cluster_ips=WEB_IPS, ports=HTTP)
    cluster.dns.follow(Update(upserts=(new,)))
    assert cluster.resolve("new") == WEB_IPS
    cluster.dns.follow(Update(deletes=(("Service", "default", "new"),)))
    assert cluster.resolve("new") == []


@pytest.mark.parametrize("mode", [IPTABLES[0], NFTABLES[0]], ids=str)
def test_a_cluster_of_ipv6_alone(mode: Mode) -> None:
    with dns_lab(mode, (Family.IPV6,)) as cluster:
        assert cluster.nameservers == ("fd00:10:96::a",)
        assert cluster.dig("+short", WEB, "AAAA", WEB, "A") == ["fd00:10:96::20"]
        assert cluster.resolve("web") == ["fd00:10:96::20"]
        assert cluster.resolve("web", family=Family.IPV4) == []
        assert len(cluster.resolve("many")) == MANY
        assert set(cluster.curl("http://web.default", "http://db")) <= {"web-1", "web-2"}
        assert cluster.curl("http://shop") == ["outside"]


def test_no_dns_server() -> None:
    """Silence is not taken for the answer that there is no such name."""
    with dns_lab(IPTABLES[0]) as cluster:
        pod = cluster.lab.pods["shell"]
        conf = resolv_conf(cluster.nameservers, "default")
        cluster.dns.stop("dns")
        cluster.dns.stop("dns")
        with pytest.raises(KernelRefused, match="Temporary failure"):
            resolve(pod, "web", resolv_conf=conf + "options timeout:1 attempts:1\n")
        cluster.dns.start(cluster.lab.pods["dns"])
        assert cluster.resolve("web") == WEB_IPS
