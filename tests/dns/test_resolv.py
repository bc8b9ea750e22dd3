"""The contents of a pod's /etc/resolv.conf."""

from __future__ import annotations

from kproxy.dns.resolv import resolv_conf


def test_the_file_of_a_pod() -> None:
    assert resolv_conf(["10.96.0.10", "fd00:10:96::a"], "shop") == (
        "nameserver 10.96.0.10\n"
        "nameserver fd00:10:96::a\n"
        "search shop.svc.cluster.local svc.cluster.local cluster.local\n"
        "options ndots:5\n"
    )


def test_the_domain_of_another_cluster() -> None:
    assert "search a.svc.b.example svc.b.example b.example\n" in resolv_conf(
        ["192.0.2.1"], "a", domain="b.example"
    )
