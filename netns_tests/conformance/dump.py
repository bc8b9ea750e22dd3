"""What a service proxy left in the calling thread's namespace, as text like that of the recordings.

Read with the kernel's own tools, not through kproxy's eyes.
"""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel import sysctl
from kproxy.kernel.process import run

SYSCTLS = (
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/vs/conntrack",
    "net/ipv4/vs/conn_reuse_mode",
    "net/ipv4/vs/expire_nodest_conn",
    "net/ipv4/vs/expire_quiescent_template",
    "net/ipv4/conf/all/arp_ignore",
    "net/ipv4/conf/all/arp_announce",
    "net/ipv4/ip_forward",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
)


def iptables(variant: str) -> str:
    """All tables of both families that the variant (nft, legacy) knows of."""
    return "".join(
        f"## {command}\n{''.join(_chains_and_rules(run([f'{command}-{variant}-save'])))}"
        for command in ("iptables", "ip6tables")
    )


def nftables() -> str:
    """The tables of the nftables mode, "" for a family that has none."""
    return "".join(_nft_table(family) for family in ("ip", "ip6"))


def sysctls() -> str:
    """The settings a service proxy may touch, with an empty value where the kernel has none."""
    return "## sysctl\n" + "".join(f"{name} = {_setting(name)}\n" for name in SYSCTLS)


def _chains_and_rules(saved: str) -> Iterator[str]:
    for line in saved.splitlines():
        if line.startswith(":"):
            yield f"{line.split(maxsplit=1)[0]}\n"  # without policy and counters
        elif line.startswith(("*", "-A ")):
            yield f"{line}\n"


def _nft_table(family: str) -> str:
    try:
        return run(["nft", "--stateless", "list", "table", family, "kube-proxy"]) + "\n"
    except KernelRefused:
        return ""


def _setting(name: str) -> str:
    try:
        return sysctl.read(name)
    except Unsupported:
        return ""
