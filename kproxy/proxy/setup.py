"""Setup before the first sync: choosing families and backends, and writing sysctls.

All of it concerns the namespace of the calling thread.
Source: kube-proxy v1.36 cmd/kube-proxy/app/server_linux.go (platformSetup, platformCheckSupported)
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from kproxy.address import Family, family_of_parsed
from kproxy.api.addresses import parse_cidr
from kproxy.api.types import Node
from kproxy.backend import Backend, BackendOptions, Mode, Support, complete_options, sound_modes
from kproxy.config import ProxyConfig, primary_family
from kproxy.config.conntrack import MAX_SYSCTL, conntrack_max, conntrack_sysctls
from kproxy.config.types import Conntrack
from kproxy.errors import BackendFault, BadInput, KernelRefused, KproxyError, Unsupported
from kproxy.kernel import sysctl
from kproxy.versions import CONNTRACK_MAX_NOT_LOWERED, Version

_HASH_SIZE = Path("/sys/module/nf_conntrack/parameters/hashsize")
_OOM_SCORE = Path("/proc/self/oom_score_adj")

_SIZE_REMEDY = (
    "set conntrack.maxPerCore: 0 (--conntrack-max-per-core=0); only the machine's first network"
    " namespace may change the size of the conntrack table"
)

log = logging.getLogger("kproxy")


def make_backends(
    mode: Mode, options: BackendOptions
) -> tuple[dict[Family, Backend], dict[Family, Support]]:
    """Return a backend for each family that works here, and why the others do not.

    `options` must be complete. The caller closes the backends. Raises BackendFault.
    """
    usable: dict[Family, Backend] = {}
    missing: dict[Family, Support] = {}
    with ExitStack() as undo:
        for family in Family:
            backend = mode.backend(family, options)
            undo.callback(close, backend)
            support = family_support(family, backend)
            if support.ok:
                usable[family] = backend
            else:
                missing[family] = support
        undo.pop_all()
    return usable, missing


def require_families(
    mode: Mode, config: ProxyConfig, node: Node | None, missing: Mapping[Family, Support]
) -> None:
    """Check that a node can do without the families that do not work there, and name them.

    Raises Unsupported if one is its primary family, BadInput if all cluster CIDRs are of one.
    """
    primary = primary_family(config, node)
    for family, support in missing.items():
        if family is primary:
            raise Unsupported(
                f"{mode.name} mode cannot run here, {family.value}: {support.missing}",
                remedy=support.remedy,
            )
        log.warning("no %s: %s", family.value, support.missing)
    if missing and config.detect_local_mode == "ClusterCIDR":
        _require_cluster_cidr(config, primary)


def family_support(family: Family, backend: Backend) -> Support:
    """Return whether the namespace has the family and, if so, what the backend says."""
    if family is Family.IPV6:
        if not Path("/proc/thread-self/net/if_inet6").exists():
            return Support(False, "the kernel was started without IPv6")
        if sysctl.read("net/ipv6/conf/all/disable_ipv6") == "1":
            return Support(False, "it is switched off (net/ipv6/conf/all/disable_ipv6 is 1)")
    return backend.support()


def set_conntrack(config: Conntrack, version: Version) -> None:
    """Write the conntrack settings, as this version of kube-proxy does.

    Raises Unsupported or KernelRefused, with a remedy that names the setting to change. Only the
    machine's first namespace may change the size of the conntrack table. Elsewhere the default size
    is not written, whereas kube-proxy would not start.
    """
    size = conntrack_max(config, os.cpu_count() or 1)
    if size and not (version.has(CONNTRACK_MAX_NOT_LOWERED) and _conntrack_max() >= size):
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
                str(error),
                remedy=f"{error.remedy or 'allow it'}; or set it to 0s in section conntrack",
            ) from None


def _conntrack_max() -> int:
    """Return the present size of the conntrack table, 0 if it cannot be read."""
    try:
        return int(sysctl.read(MAX_SYSCTL))
    except (Unsupported, KernelRefused):
        return 0


def set_oom_score(score: int) -> None:
    """Set how readily the kernel kills this process when memory runs out, if we may set it."""
    try:
        _OOM_SCORE.write_text(str(score))
    except OSError as error:
        log.debug("oomScoreAdj %d not set: %s", score, error.strerror)


def cleanup(config: ProxyConfig, options: BackendOptions) -> list[str]:
    """Remove what any installed backend, or a kube-proxy in such a mode, left here.

    Returns a line for each failure, after trying everything. A backend that cannot run here cannot
    have left anything. What a faulty one left is left alone: that is logged, and a failure only if
    it is the one that `config` asks for. `options` are those of that mode, complete.
    """
    removals: dict[str, Callable[[], None]] = {}
    faults: dict[str, BackendFault] = {}
    with ExitStack() as opened:
        for mode in sound_modes():
            own = options if mode.name == config.mode else mode.options()
            try:
                for family in Family:
                    backend = mode.backend(family, complete_options(mode, config, own))
                    opened.callback(close, backend)
                    support = family_support(family, backend)
                    if support.ok:
                        removals[f"{mode.name} {family.value}"] = _unless_faulty(
                            backend.cleanup, mode.name, faults
                        )
                    else:
                        log.info(
                            "%s %s: nothing to clean: %s", mode.name, family.value, support.missing
                        )
            except BackendFault as fault:
                faults[mode.name] = fault
        failures = [f"{name}: {error}" for name, error in remove_in_turn(removals).items()]
    for name, found in faults.items():
        if name == config.mode:
            failures.append(str(found))
        else:
            log.warning("%s; what it may have left here is left alone", found)
    return failures


def close(backend: Backend) -> None:
    """Close a backend that is no longer needed. A failure is logged: nothing depends on it."""
    try:
        backend.close()
    except (KproxyError, OSError) as error:
        log.warning("a backend could not be closed: %s", error)


def _unless_faulty(
    remove: Callable[[], None], mode: str, faults: dict[str, BackendFault]
) -> Callable[[], None]:
    """Return a removal that notes a fault of the backend instead of raising it."""

    def remove_or_note() -> None:
        try:
            remove()
        except BackendFault as fault:
            faults[mode] = fault

    return remove_or_note


def remove_in_turn(removals: Mapping[str, Callable[[], None]]) -> dict[str, str]:
    """Call all of them and return the failures by name."""
    failures: dict[str, str] = {}
    # Modes share chains: one that a rule of another mode still uses can be deleted in round two.
    for _ in range(2):
        failures = {}
        for name, remove in removals.items():
            try:
                remove()
            except (KproxyError, OSError) as error:  # OSError: too few processes, ...
                failures[name] = str(error)
        if not failures:
            break
    return failures


def _require_cluster_cidr(config: ProxyConfig, family: Family) -> None:
    networks = [parse_cidr(text) for text in config.cluster_cidrs]
    if networks and not any(
        network and family_of_parsed(network) is family for network in networks
    ):
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
