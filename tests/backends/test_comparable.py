"""Traffic makes no difference between two rulesets, though it leaves something in the kernel."""

from __future__ import annotations

from kproxy.backend import Ruleset, load


def of_nftables(*clients: str) -> Ruleset:
    chain = "endpoint-V6UOZA7J-default/cart/tcp/__10.244.3.12/8080"
    affinity = chain.replace("endpoint", "affinity")
    return {
        "kube-proxy": {
            f"chain {chain}": (f"update @{affinity} {{ ip saddr }}",),
            f"set {affinity}": clients,
            "set cluster-ips": ("10.96.0.10",),
        }
    }


def of_ipvs(*reals: str) -> Ruleset:
    servers = tuple(f"-a -t 10.96.0.10:80 -r {real}" for real in reals)
    return {"ipvs": {"-A -t 10.96.0.10:80 -s rr": servers}, "ipset": {"KUBE-IPVS-IPS": ()}}


def test_clients_that_affinity_remembers() -> None:
    comparable = load("nftables").comparable
    assert comparable(of_nftables("10.244.1.11", "10.244.1.12")) == comparable(of_nftables())
    missing: Ruleset = {"kube-proxy": {}}
    assert comparable(of_nftables()) != comparable(missing)


def test_real_servers_that_keep_their_connections() -> None:
    comparable = load("ipvs").comparable
    one = "10.244.1.11:8080 -m -w 1"
    draining = "10.244.1.12:8080 -m -w 0"
    assert comparable(of_ipvs(one, draining)) == comparable(of_ipvs(one))
    assert comparable(of_ipvs(one)) != comparable(of_ipvs())
