"""The contents of a pod's /etc/resolv.conf. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def resolv_conf(
    nameservers: Iterable[str], namespace: str, *, domain: str = "cluster.local"
) -> str:
    """Return the file of a pod in `namespace` with dnsPolicy ClusterFirst.

    `nameservers`: the cluster IPs of the kube-dns Service; the C library asks three at most.
    With ndots:5 a name of fewer than five dots goes through the search list first, so `web`,
    `web.default` and `_http._tcp.web.default.svc` are found, and every name of the Internet is
    asked for four times.
    Source: pkg/kubelet/network/dns/dns.go (generateSearchesForDNSClusterFirst)
    """
    lines = [f"nameserver {address}" for address in nameservers]
    lines.append(f"search {namespace}.svc.{domain} svc.{domain} {domain}")
    lines.append("options ndots:5")
    return "\n".join(lines) + "\n"
