"""Settings of the namespace that IPVS needs, each written only if it is different.

Source: kube-proxy v1.36 ipvs/proxier.go, NewProxier.
"""

from __future__ import annotations

import os

from kproxy.kernel import sysctl
from kproxy.kernel.ipvs import Ipvs
from kproxy_ipvs.options import IpvsOptions


def write_all(options: IpvsOptions) -> None:
    """Write the settings. Raises Unsupported, KernelRefused."""
    sysctl.write("net/ipv4/vs/conntrack", 1)  # iptables rules see IPVS connections
    if (4, 1) <= _kernel_version() < (5, 9):
        # In these kernels a reused client port would wait a second, or miss the drained server.
        sysctl.write("net/ipv4/vs/conn_reuse_mode", 0)
    sysctl.write("net/ipv4/vs/expire_nodest_conn", 1)
    sysctl.write("net/ipv4/vs/expire_quiescent_template", 1)
    sysctl.write("net/ipv4/ip_forward", 1)
    if options.strict_arp:
        sysctl.write("net/ipv4/conf/all/arp_ignore", 1)
        sysctl.write("net/ipv4/conf/all/arp_announce", 2)


def set_timeouts(ipvs: Ipvs, options: IpvsOptions) -> None:
    """Set those timeouts of the configuration that are not 0."""
    timeouts = (options.tcp_timeout, options.tcp_fin_timeout, options.udp_timeout)
    if any(timeouts):
        ipvs.set_timeouts(*(int(timeout) for timeout in timeouts))


def _kernel_version() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(filter(str.isdigit, minor.split("-")[0])))
