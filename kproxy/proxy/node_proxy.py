"""One node's planners and backends, kept in step with a store."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from kproxy.address import Family
from kproxy.backend import Backend, SyncReport
from kproxy.config import ModeConfig, ProxyConfig, node_name, node_settings
from kproxy.errors import BackendFault, BadInput, KernelRefused, KproxyError
from kproxy.forwarding.plan import (
    BackendOptions,
    Delta,
    Plan,
    ServicePlan,
)
from kproxy.forwarding.planner import Planner
from kproxy.forwarding.stale_flows import UdpEndpoints, removed_ports
from kproxy.garbage import uncollected
from kproxy.proxy.health import ProxyHealth
from kproxy.proxy.observer import Observer
from kproxy.proxy.udp_flows import UdpChange
from kproxy.store import Changes, Store

log = logging.getLogger("kproxy")

_ANY_MODE = ModeConfig()
_NO_OPTIONS = BackendOptions()
_PART = 1000  # Services


class SyncFailed(KproxyError):
    """At least one family could not be synced: it keeps its former rules and stays due.

    `errors` has one entry for each such family; the others were synced as usual.
    """

    def __init__(self, errors: Mapping[Family, KproxyError]) -> None:
        remedies = dict.fromkeys(error.remedy for error in errors.values() if error.remedy)
        super().__init__(
            "\n".join(f"{family.value}: {error}" for family, error in errors.items()),
            remedy="; ".join(remedies),
        )
        self.errors = errors


class NodeProxy:
    """Syncs each family of one node, in the namespace of the calling thread.

    Each family has its own planner and backend, and succeeds or fails by itself. What is planned
    depends only on the store, not on its history: unlike in kube-proxy, which keeps the last zone
    it has seen until it is restarted, a changed or deleted Node counts like any other object.
    """

    def __init__(
        self,
        store: Store,
        config: ProxyConfig,
        backends: Mapping[Family, Backend],
        *,
        mode: ModeConfig = _ANY_MODE,
        options: BackendOptions = _NO_OPTIONS,
        in_parts: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`mode` is how the backends' mode reads `config`, `options` what they were made with.

        `in_parts`: as `kproxy.backend.Mode.in_parts`.
        """
        self._in_parts = in_parts
        self._mode_config = mode
        self._options = options
        self._store = store
        self._config = config
        self._node_name = node_name(config)
        self._backends = backends
        self._clock = clock
        self._planners: dict[Family, Planner] = {}
        self._due_full = set(backends)  # nothing synced yet, failed, or found damaged
        self._node_problem: BadInput | None = None
        self.durations_s: dict[Family, float] = {}  # of each family's last sync, failed or not
        self._again_at: dict[Family, float] = {}  # what backends have asked for
        self.health = ProxyHealth(
            backends, limit_s=2 * mode.timing_of(config).sync_period, clock=clock
        )
        self.observer = Observer()
        # Called for each family that is in step, after every sync; must not raise.
        self.on_synced: Callable[[Plan, Delta], None] = lambda _plan, _delta: None
        # Called at the end of a sync with those of them whose UDP endpoints have changed, or which
        # lost UDP service ports that matter; must not raise. Returns how many flows were cut.
        self.on_udp_changed: Callable[[Sequence[UdpChange]], Mapping[Family, int]] | None = None
        self._udp_endpoints: dict[Family, UdpEndpoints] = {}

    @property
    def families(self) -> tuple[Family, ...]:
        return tuple(self._backends)

    @property
    def mode(self) -> str:
        return self._config.mode

    @property
    def plans(self) -> Mapping[Family, Plan]:
        """Return the last plan of each family; empty before the first sync."""
        return {family: planner.plan for family, planner in self._planners.items()}

    @property
    def again_at(self) -> float:
        """Return when a sync is due even if nothing changes; infinity for never."""
        return min(self._again_at.values(), default=float("inf"))

    def request(self) -> None:
        """Note that a sync is due, for `health` and the observer."""
        self.health.requested()
        self.observer.requested()

    @uncollected()
    def sync(self, *, full: bool = False) -> list[SyncReport]:
        """Bring every family up to date with the store; `full` also rewrites what has not changed.

        Returns the reports of each family that had something to do. A family that fails is synced
        in full next time, whatever has changed by then.
        Raises SyncFailed after trying all families; BadInput if the objects give this node no
        settings (then the former settings, if any, stay in force). Then changes may wait for the
        next call.
        """
        self.health.requested()
        at_once = full or self._due_full or not self._in_parts
        changes = self._store.take_changes(None if at_once else _PART)
        reports = self._sync(changes, full=full)
        while self._store.has_changes:
            reports += self._sync(self._store.take_changes(_PART), full=False)
        return reports

    def _sync(self, changes: Changes, *, full: bool) -> list[SyncReport]:
        self.observer.taken()
        replanned = self._take_settings(changes)
        reports: list[SyncReport] = []
        errors: dict[Family, KproxyError] = {}
        udp_changes: list[UdpChange] = []
        tried: dict[Family, tuple[float, bool, bool]] = {}  # seconds, whether in full, whether ok
        for family, backend in self._backends.items():
            planner = self._planners[family]
            known = replanned.get(family)
            delta = known or planner.update(self._store, changes.services)
            removed = removed_ports(filter(None, delta.before.values()), planner.plan)
            # As in kube-proxy a change is passed on only after its own sync, not if that fails.
            udp_change = self._udp_change(family, changes, removed)
            if full or family in self._due_full:
                delta = Delta(full=True)
            start = self._clock()
            if not delta and start < self._again_at.get(family, float("inf")):
                self._tell(family, delta)
                udp_changes += udp_change
                continue
            self._due_full.add(family)
            self._again_at.pop(family, None)
            wrote_all, ok = delta.full, False
            try:
                report = backend.sync(planner.plan, delta)
                self._due_full.discard(family)
                wrote_all, ok = report.full, True
                reports.append(report)
                if report.again_in_s:
                    self._again_at[family] = self._clock() + report.again_in_s
            except KproxyError as error:
                errors[family] = error
            except OSError as error:  # too few processes, descriptors or memory: may pass
                errors[family] = KernelRefused(str(error))
            else:
                self._tell(family, delta)
                udp_changes += udp_change
            finally:
                tried[family] = self._clock() - start, wrote_all, ok
        cut_s = self._cut_flows(udp_changes)
        for family, (duration_s, wrote_all, ok) in tried.items():
            self.durations_s[family] = duration_s + cut_s.get(family, 0)
            self.observer.tried(family, self.durations_s[family], full=wrote_all, ok=ok)
        if errors:
            raise SyncFailed(errors)
        if problem := self._node_problem:
            self._node_problem = None  # reported once
            raise problem
        return reports

    def damaged(self) -> tuple[Family, ...]:
        """Return the families whose rules another process changed; their next sync is full.

        Families that are due anyway are not checked. One that cannot be checked counts as damaged.
        """
        found = tuple(
            family
            for family, backend in self._backends.items()
            if family not in self._due_full and not _intact(family, backend)
        )
        self._due_full.update(found)
        return found

    def _udp_change(
        self, family: Family, changes: Changes, removed: Sequence[ServicePlan]
    ) -> list[UdpChange]:
        known = self._udp_endpoints.get(family)
        if known is None:
            known = self._udp_endpoints[family] = UdpEndpoints()
            services = changes.services | {*self._store.services()}
        else:
            services = changes.services
        plan = self._planners[family].plan
        changed = known.update(self._store, services, plan.settings)
        return [UdpChange(plan, known.serving, removed)] if changed or removed else []

    def _tell(self, family: Family, delta: Delta) -> None:
        plan = self._planners[family].plan
        self.health.synced(family)
        self.observer.in_step(plan, delta)
        self.on_synced(plan, delta)

    def _cut_flows(self, changes: Sequence[UdpChange]) -> dict[Family, float]:
        """Have the flows of all these families cut at once, as the kernel has one table for both.

        Return the seconds that each of them took, which are part of its sync as in kube-proxy.
        """
        if not self.on_udp_changed or not changes:
            return {}
        start = self._clock()
        cut = self.on_udp_changed(changes)
        duration_s = self._clock() - start
        for plan, _, _ in changes:
            self.observer.flows_checked(plan.family, duration_s, cut.get(plan.family, 0))
        return {plan.family: duration_s for plan, _, _ in changes}

    def _take_settings(self, changes: Changes) -> dict[Family, Delta]:
        """Plan again the families whose settings were changed by the Node or ServiceCIDRs.

        At first these are all. Returns the differences of those families; their next sync is full.
        """
        replanned: dict[Family, Delta] = {}
        concerned = self._node_name in changes.nodes or changes.service_cidrs
        if self._planners and not concerned:
            return replanned
        self._node_problem = None
        node = self._store.node(self._node_name)
        try:
            settings = node_settings(
                self._config,
                node,
                self._store.service_cidrs(),
                mode=self._mode_config,
                options=self._options,
            )
        except BadInput as error:
            if not self._planners:
                raise
            self._node_problem = error
            return replanned
        for family in self._backends:
            if family not in self._planners:
                self._planners[family] = Planner(settings[family])
            elif self._planners[family].plan.settings == settings[family]:
                continue
            replanned[family] = self._planners[family].replan(self._store, settings[family])
        self._due_full |= replanned.keys()
        return replanned


def _intact(family: Family, backend: Backend) -> bool:
    try:
        return backend.intact()
    except BackendFault as fault:
        log.warning("%s: %s", family.value, fault)
        return False
    except (KproxyError, OSError):
        return False
