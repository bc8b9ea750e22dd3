"""KubeProxyConfiguration v1alpha1 as frozen structs, with kube-proxy's defaults.

Attributes are the configuration's fields in snake_case. `ProxyConfig()` is the configuration of a
`kube-proxy` without arguments. Source: kube-proxy v1.36 apis/config/v1alpha1/defaults.go
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from kproxy.versions import NEWEST_RELEASED, Version

API_VERSION = "kubeproxy.config.k8s.io/v1alpha1"
KIND = "KubeProxyConfiguration"
PRIMARY, LOCALHOST, ALL = "primary", "localhost", "all"  # in nodePortAddresses


Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Verbosity = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class Seconds(float):
    """A length of time. In files and flags it is a Go duration: `30s`, `1h0m0s`, `100ms`."""

    __slots__ = ()


class Section(Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all sections: fields have Kubernetes' spelling in files."""


class ClientConnection(Section, frozen=True):
    kubeconfig: str = ""
    accept_content_types: str = ""
    content_type: str = "application/vnd.kubernetes.protobuf"
    qps: float = 5
    burst: Int32 = 10


class FileVerbosity(Section, frozen=True):
    """The verbosity of kube-proxy's source files with a name like this; kproxy has none of them."""

    file_pattern: str = ""
    verbosity: Verbosity = 0


class Logging(Section, frozen=True):
    """The log. All but `format` and `verbosity` is without effect."""

    format: str = "text"
    flush_frequency: str | int = "5s"  # a duration, or nanoseconds
    verbosity: Verbosity = 0
    vmodule: tuple[FileVerbosity, ...] = ()
    options: dict[str, Any] = {}


class IptablesSection(Section, frozen=True):
    masquerade_bit: Int32 = 14
    masquerade_all: bool = False
    localhost_node_ports: bool = True
    sync_period: Seconds = Seconds(30)
    min_sync_period: Seconds = Seconds(1)


class IpvsSection(Section, frozen=True):
    sync_period: Seconds = Seconds(30)
    min_sync_period: Seconds = Seconds(0)
    scheduler: str = ""
    exclude_cidrs: tuple[str, ...] = field(default=(), name="excludeCIDRs")
    strict_arp: bool = field(default=False, name="strictARP")
    tcp_timeout: Seconds = Seconds(0)
    tcp_fin_timeout: Seconds = Seconds(0)
    udp_timeout: Seconds = Seconds(0)


class NftablesSection(Section, frozen=True):
    masquerade_bit: Int32 = 14
    masquerade_all: bool = False
    sync_period: Seconds = Seconds(30)
    min_sync_period: Seconds = Seconds(1)


class DetectLocal(Section, frozen=True):
    bridge_interface: str = ""
    interface_name_prefix: str = ""


class Conntrack(Section, frozen=True):
    max_per_core: Int32 = 32768
    min: Int32 = 131072
    tcp_established_timeout: Seconds = Seconds(24 * 3600)
    tcp_close_wait_timeout: Seconds = Seconds(3600)
    tcp_be_liberal: bool = False
    udp_timeout: Seconds = Seconds(0)
    udp_stream_timeout: Seconds = Seconds(0)


class ProxyConfig(Section, frozen=True):
    """The whole configuration. `kproxy.config.validation.problems` says whether it can be run."""

    feature_gates: dict[str, bool] = {}
    client_connection: ClientConnection = ClientConnection()
    logging: Logging = Logging()
    hostname_override: str = ""
    bind_address: str = "0.0.0.0"
    healthz_bind_address: str = "0.0.0.0:10256"
    metrics_bind_address: str = "127.0.0.1:10249"
    bind_address_hard_fail: bool = False
    enable_profiling: bool = False
    show_hidden_metrics_for_version: str = ""
    mode: str = "iptables"
    iptables: IptablesSection = IptablesSection()
    ipvs: IpvsSection = IpvsSection()
    nftables: NftablesSection = NftablesSection()
    detect_local_mode: str = "ClusterCIDR"
    detect_local: DetectLocal = DetectLocal()
    cluster_cidr: str = field(default="", name="clusterCIDR")
    node_port_addresses: tuple[str, ...] = ()
    oom_score_adj: Int32 = -999
    conntrack: Conntrack = Conntrack()
    config_sync_period: Seconds = Seconds(15 * 60)
    port_range: str = ""  # ignored, as in kube-proxy
    winkernel: dict[str, Any] = {}  # Windows only, as is the next one
    windows_run_as_service: bool = False
    # The rest is kproxy's own.
    backend_options: dict[str, Any] = {}  # the mode's `BackendOptions`, by name
    emulate: Version = NEWEST_RELEASED  # the kube-proxy to behave like

    @property
    def cluster_cidrs(self) -> tuple[str, ...]:
        return tuple(self.cluster_cidr.split(",")) if self.cluster_cidr else ()


class ModeConfig(Struct, frozen=True, kw_only=True):
    """A mode's rules for reading a configuration. The defaults suit modes unknown to kube-proxy."""

    timing: Literal["iptables", "ipvs", "nftables"] = "iptables"
    """The section whose syncPeriod and minSyncPeriod apply."""
    masquerade: Literal["iptables", "nftables"] = "iptables"
    """The section whose masqueradeAll and masqueradeBit apply."""
    section: str = ""
    """The section that only this mode reads: it is checked, and the mode's options come from it."""
    node_port_addresses: tuple[str, ...] = ()
    """The value of nodePortAddresses if it is empty."""
    localhost_node_ports: bool = False
    """Node ports can answer on 127.0.0.1, if iptables.localhostNodePorts is set."""
    loopback_gate: str = ""
    """The feature gate with which node ports on loopback addresses are served or refused."""
    gate: str = ""
    """The feature gate that must be on for this mode, in versions that know it."""
    service_cidrs: bool = True
    """Some rules depend on the ServiceCIDR objects."""
    warning: str = ""
    """What every start in this mode warns of."""
    full_sync_each_period: bool = False
    """Everything is written again every syncPeriod; else once an hour."""

    def timing_of(self, config: ProxyConfig) -> IptablesSection | IpvsSection | NftablesSection:
        section: IptablesSection | IpvsSection | NftablesSection = getattr(config, self.timing)
        return section

    def masquerade_of(self, config: ProxyConfig) -> IptablesSection | NftablesSection:
        section: IptablesSection | NftablesSection = getattr(config, self.masquerade)
        return section
