"""What happens once, before the first sync: privileges, sysctls, which families, which backends.

All of it concerns the namespace of the calling thread.
Source: kube-proxy v1.36 cmd/kube-proxy/app/server_linux.go (platformSetup, platformCheckSupported)
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec.structs import replace

from kproxy import backend as registry
from kproxy.address import Family
from kproxy.api.addresses import parse_cidr
from kproxy.api.types import Node
from kproxy.backend import Backend, BackendOptions, Support
from kproxy.config import ProxyConfig, primary_family
from kproxy.config.addresses import family_of
from kproxy.config.conntrack import MAX_SYSCTL, conntrack_max, conntrack_sysctls
from kproxy.config.types import Conntrack
from kproxy.errors import BadInput, KernelRefused, KproxyError, Unsupported
from kproxy.kernel import sysctl

_HASH_SIZE = Path("/sys/module/nf_conntrack/parameters/hashsize")
_OOM_SCORE = Path("/proc/self/oom_score_adj")

_SIZE_REMEDY = (
    "set conntrack.maxPerCore: 0 (--conntrack-max-per-core=0); only the machine's first network"
    " namespace may change the size of the conntrack table"
)

log = logging.getLogger("kproxy")


def make_backends(
    config: ProxyConfig, node: Node | None, options: BackendOptions
) -> dict[Family, Backend]:
    """A backend for each family that works here: both, or at least the node's primary one.

    Raises BadInput for a mode that is not installed, or cluster CIDRs of the wrong family only;
    Unsupported if the primary family does not work.
    """
    factory = registry.load(config.mode)
    options = replace(options, ipvs=config.ipvs)
    backends = {family: factory(family, options) for family in Family}
    primary = primary_family(config, node)
    usable: dict[Family, Backend] = {}
    for family, backend in backends.items():
        support = family_support(family, backend)
        if support.ok:
            usable[family] = backend
        elif family is primary:
            raise Unsupported(
                f"{config.mode} mode cannot run here, {family.value}: {support.missing}",
                remedy=support.remedy,
            )
        else:
            log.warning("no %s: %s", family.value, support.missing)
    if len(usable) == 1 and config.detect_local_mode == "ClusterCIDR":
        _require_cluster_cidr(config, primary)
    return usable


def family_support(family: Family, backend: Backend) -> Support:
    """Whether the namespace has the family at all, and then what the backend says."""
    if family is Family.IPV6:
        if not Path("/proc/thread-self/net/if_inet6").exists():
            return Support(False, "the kernel was started without IPv6")
        if sysctl.read("net/ipv6/conf/all/disable_ipv6") == "1":
            return Support(False, "it is switched off (net/ipv6/conf/all/disable_ipv6 is 1)")
    return backend.support()


def set_conntrack(config: Conntrack) -> None:
    """Raises Unsupported or KernelRefused, naming the setting that avoids it.

    Only the machine's first namespace may change the size of the conntrack table. Elsewhere a size
    that nobody asked for is left alone, where kube-proxy would not start.
    """
    size = conntrack_max(config, os.cpu_count() or 1)
    if size:
        try:
            sysctl.write(MAX_SYSCTL, size)
            _grow_hash_table(size)
        except Unsupported as error:
            if (config.max_per_core, config.min) != (Conntrack().max_per_core, Conntrack().min):
                raise Unsupported(str(error), remedy=_SIZE_REMEDY) from None
            log.info("the conntrack table keeps its size: %s", error)
        except KernelRefused as error:
            raise KernelRefused(str(error), remedy=_SIZE_REMEDY) from None
    for name, value in conntrack_sysctls(config):
        try:
            sysctl.write(name, value)
        except KproxyError as error:
            raise type(error)(
                str(error), remedy=f"{error.remedy or 'set it'}; or 0s for it in section conntrack"
            ) from None


def set_oom_score(score: int) -> None:
    """How willingly the kernel kills us when memory is short. Without the privilege: as it was."""
    try:
        _OOM_SCORE.write_text(str(score))
    except OSError as error:
        log.debug("oomScoreAdj %d not set: %s", score, error.strerror)


def cleanup(config: ProxyConfig, options: BackendOptions) -> list[str]:
    """Remove what any installed backend, or a kube-proxy in such a mode, left here.

    Returns a line for each failure, after everything has had its turn. A backend that cannot run
    here cannot have left anything.
    """
    options = replace(options, ipvs=config.ipvs)
    removals: dict[str, Callable[[], None]] = {}
    for mode in registry.modes():
        for family in Family:
            backend = registry.load(mode)(family, options)
            support = family_support(family, backend)
            if support.ok:
                removals[f"{mode} {family.value}"] = backend.cleanup
            else:
                log.info("%s %s: nothing to clean: %s", mode, family.value, support.missing)
    return [f"{name}: {error}" for name, error in remove_in_turn(removals).items()]


def remove_in_turn(removals: Mapping[str, Callable[[], None]]) -> dict[str, str]:
    """Have all of them do their work. Returns the failures by name."""
    failures: dict[str, str] = {}
    # Modes share names of chains: what one cannot delete for a rule of another goes afterwards.
    for _ in range(2):
        failures = {}
        for name, remove in removals.items():
            try:
                remove()
            except (KernelRefused, Unsupported, OSError) as error:  # OSError: no process, ...
                failures[name] = str(error)
        if not failures:
            break
    return failures


def _require_cluster_cidr(config: ProxyConfig, family: Family) -> None:
    networks = [parse_cidr(text) for text in config.cluster_cidrs]
    if networks and not any(network and family_of(network) is family for network in networks):
        raise BadInput([f"clusterCIDR: {config.cluster_cidr} has no {family.value} CIDR"])


def _grow_hash_table(size: int) -> None:
    if int(_HASH_SIZE.read_text()) >= size // 4:
        return
    try:
        _HASH_SIZE.write_text(str(size // 4))
    except OSError as error:
        if (
            error.errno != errno.EROFS
        ):  # containers often see /sys read-only: kube-proxy goes on too
            raise KernelRefused(f"cannot write {_HASH_SIZE}: {error.strerror}") from None
        log.warning("%s is read-only; the conntrack hash table keeps its size", _HASH_SIZE)
