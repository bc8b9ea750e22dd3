"""The kube-proxy that is emulated, as a value, and everything that depends on its version. Pure.

A `Version` is chosen once (`ProxyConfig.emulate`) and asked with `version.has(BEHAVIOUR)`; nothing
else compares versions. `BEHAVIOURS` is the whole table of what changed, also of what an emulator
cannot show; docs/versions.md is made from it. Feature gates have a table of their own
(`kproxy.config.gates`).
Source: the Kubernetes changelogs of 1.37 and 1.38, the pull requests named in the table, and
pkg/proxy of the release branches as far as it could be read.
"""

from __future__ import annotations

import enum

from msgspec import Struct


class Version(enum.Enum):
    """A minor version of kube-proxy, in the order of release. The value is its name for users."""

    V1_36 = "1.36"
    V1_37 = "1.37"
    V1_38 = "1.38-alpha"

    def __init__(self, _: str) -> None:
        self._place = len(type(self).__members__)

    def has(self, behaviour: Behaviour) -> bool:
        """Tell whether this version behaves so."""
        return self.at_least(behaviour.since) and not (
            behaviour.until and self.at_least(behaviour.until)
        )

    def at_least(self, other: Version) -> bool:
        """Tell whether this version is `other` or a later one. For tables; else ask `has`."""
        return self._place >= other._place

    def __lt__(self, other: Version) -> bool:
        return self._place < other._place

    def __str__(self) -> str:
        return self.value


NEWEST_RELEASED = Version.V1_37


def parse_version(text: str) -> Version:
    """Return the version of this name. Raises ValueError for one that is not emulated."""
    try:
        return Version(text)
    except ValueError:
        known = ", ".join(map(str, Version))
        raise ValueError(f"kube-proxy {text} is not emulated; there are {known}") from None


class Behaviour(Struct, frozen=True, kw_only=True):
    """One thing that depends on the version.

    `modes`: the modes that it concerns; empty for all. `packets`: it can change what becomes of a
    packet. `source`: pull request or KEP. `unseen`: why no emulator can show it, or why kproxy does
    not; "" if it is in force. `was`: what the versions before do instead.
    """

    name: str
    since: Version
    summary: str
    source: str
    was: str
    until: Version | None = None
    modes: tuple[str, ...] = ()
    packets: bool = False
    unseen: str = ""

    def in_force(self, version: Version, mode: str) -> bool:
        """Tell whether a proxy of this version and mode behaves so."""
        return version.has(self) and (not self.modes or mode in self.modes)


SINGLE_ENDPOINT_DNAT = Behaviour(
    name="single-endpoint-dnat",
    since=Version.V1_37,
    modes=("nftables",),
    summary="A chain with exactly one endpoint and no affinity is a plain `dnat to ADDRESS:PORT`.",
    was="Such a chain is a random choice from a map with one element.",
    source="#140723, issue #139513",
)
COMMENTS_CUT = Behaviour(
    name="comments-cut",
    since=Version.V1_37,
    modes=("nftables",),
    packets=True,
    summary="Comments of elements in no-endpoint-services and no-endpoint-nodeports are cut to 128"
    " bytes.",
    was="A Service whose name needs more and that has no endpoint makes every sync fail.",
    source="#139516",
    unseen="kproxy cuts them in every version: a proxy that no longer syncs is not worth having."
    " `upgrade-check` names the Services that 1.36 fails on",
)
NETLINK_LISTING = Behaviour(
    name="netlink-listing",
    since=Version.V1_37,
    modes=("nftables",),
    summary="Chains and sets are listed by netlink (gate NFTablesNetlink, on).",
    was="Chains and sets are listed by the program nft.",
    source="#137536",
    unseen="only log texts and processes differ; kproxy lists by netlink in every version, and the"
    " gate is known and without effect",
)
LOCALHOST_NODE_PORTS = Behaviour(
    name="localhost-node-ports",
    since=Version.V1_37,
    modes=("nftables",),
    packets=True,
    summary="With gate KubeProxyNFTablesLocalhostNodePorts: node ports of TCP are served on"
    " 127.0.0.1 and ::1 in user space if nodePortAddresses has loopback, else rejected there; UDP"
    " and SCTP are rejected.",
    was="Nothing is done with packets to a loopback address.",
    source="#138427, KEP-6032",
)
LOOPBACK_LISTED_SILENTLY = Behaviour(
    name="loopback-listed-silently",
    since=Version.V1_37,
    modes=("nftables",),
    summary="A start says nothing of loopback addresses in nodePortAddresses.",
    was="A start complains of them, because no node port answers there.",
    source="#138427",
)
EMPTY_REJECT_OBJECTS = Behaviour(
    name="empty-reject-objects",
    since=Version.V1_37,
    modes=("nftables",),
    summary="Each full sync also adds and deletes the objects of localhost node ports, with the"
    " gate off as well.",
    was="A full sync does not.",
    source="#138427",
    unseen="the fourteen commands cancel out within one transaction",
)
NFT_OF_THE_IMAGE = Behaviour(
    name="nft-of-the-image",
    since=Version.V1_37,
    modes=("nftables",),
    summary="The image of kube-proxy ships nft 1.0.6.1.",
    was="The image ships an older one.",
    source="#140405",
    unseen="kproxy writes rules itself, and lists them with the nft that is installed",
)
FULLY_RANDOM_ALWAYS = Behaviour(
    name="fully-random-always",
    since=Version.V1_37,
    modes=("iptables", "ipvs"),
    summary="The MASQUERADE rule always has --random-fully.",
    was="The rule has it with iptables 1.6.2 or newer.",
    source="#139247",
    unseen="kproxy needs a newer iptables anyway, so the rule is the same in every version",
)
IPVS_GATE = Behaviour(
    name="ipvs-gate",
    since=Version.V1_37,
    modes=("ipvs",),
    summary="Mode ipvs needs gate KubeProxyIPVS (on; planned: off by default in 1.40, locked off in"
    " 1.43), and the warning of every start says so.",
    was="There is no such gate, and the warning is a general one.",
    source="#139397, KEP-5495",
)
ADDRESSES_IN_ONE_DUMP = Behaviour(
    name="addresses-in-one-dump",
    since=Version.V1_37,
    modes=("ipvs",),
    summary="Local addresses are read with one dump for each family.",
    was="Local addresses are read interface by interface.",
    source="#138927",
    unseen="the result is the same; kproxy always reads them at once",
)
NODE_PORT_KEYWORDS = Behaviour(
    name="node-port-keywords",
    since=Version.V1_37,
    packets=True,
    summary="nodePortAddresses takes the keywords primary, localhost and all, mixed with CIDRs.",
    was="nodePortAddresses takes CIDRs, or primary alone; anything else is refused.",
    source="#138427",
)
EXITS_WITH_ITS_NODE = Behaviour(
    name="exits-with-its-node",
    since=Version.V1_37,
    summary="The process exits with status 1 when the node's addresses change or its Node object"
    " is deleted. Rules stay.",
    was="The process logs that its node has changed, and goes on.",
    source="#138183",
)
CUTS_UNSERVED_UDP = Behaviour(
    name="cuts-unserved-udp",
    since=Version.V1_37,
    packets=True,
    summary="UDP flows to a service port without serving endpoints are cut (not those to its node"
    " port).",
    was="Flows to such a service port stay on removed endpoints for as long as the client sends.",
    source="#139629",
)
WARNS_OF_UNSET_MODE = Behaviour(
    name="warns-of-unset-mode",
    since=Version.V1_37,
    summary="A start without a mode warns that the default becomes nftables in 1.40.",
    was="Only the mode is logged.",
    source="#139957, KEP-5343",
)
METRICS_ADDRESS_HELP = Behaviour(
    name="metrics-address-help",
    since=Version.V1_37,
    summary="The help of --metrics-bind-address says that an empty value does not disable it.",
    was="The help says the contrary; the behaviour is the same.",
    source="#138940",
    unseen="kproxy's help says what is so, in every version",
)
NATIVE_HISTOGRAMS = Behaviour(
    name="native-histograms",
    since=Version.V1_37,
    summary="Gate NativeHistograms is on: /metrics in protobuf form has native buckets.",
    was="The gate is off.",
    source="#140124",
    unseen="kproxy serves /metrics as text only; the gate is known with each version's default",
)
MANAGED_FIELDS_DROPPED = Behaviour(
    name="managed-fields-dropped",
    since=Version.V1_37,
    summary="metadata.managedFields is not kept in memory.",
    was="metadata.managedFields is kept.",
    source="#140056",
    unseen="kproxy never keeps it",
)
CUTS_REMOVED_UDP = Behaviour(
    name="cuts-removed-udp",
    since=Version.V1_38,
    packets=True,
    summary="UDP flows to a service port that was removed are cut (not those to its node port).",
    was="Such flows stay on their endpoints for as long as the client sends.",
    source="#141371",
)
CONNTRACK_MAX_NOT_LOWERED = Behaviour(
    name="conntrack-max-not-lowered",
    since=Version.V1_38,
    summary="nf_conntrack_max is left alone if it is already at least the wanted value.",
    was="nf_conntrack_max is written whenever it differs.",
    source="#142035; later patch releases of 1.36 and 1.37 have it, too",
)
GATES_REMOVED = Behaviour(
    name="gates-removed",
    since=Version.V1_38,
    summary="Gates NFTablesProxyMode and PreferSameTrafficDistribution are gone; naming them is an"
    " error.",
    was="Both gates are locked on.",
    source="#141733",
)
FLAGZ_NOTE = Behaviour(
    name="flagz-note",
    since=Version.V1_38,
    summary="/flagz says that it shows flags and not the configuration in force.",
    was="/flagz does not.",
    source="#140233",
)
WINKERNEL_PANIC = Behaviour(
    name="winkernel-panic",
    since=Version.V1_38,
    modes=("winkernel",),
    summary="A panic on Windows is fixed.",
    was="The panic can happen.",
    source="#141489",
    unseen="kproxy is for Linux",
)

BEHAVIOURS = tuple(value for value in [*globals().values()] if isinstance(value, Behaviour))
