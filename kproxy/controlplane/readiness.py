"""Whether a pod is ready, by the answers to its readiness probe: the kubelet's rules.

From pkg/kubelet/prober/worker.go of v1.36. A pod starts not ready. So many equal outcomes in a row
as the threshold of their kind asks for decide; fewer leave all as it is.
"""

from __future__ import annotations

from kproxy.api.types import Probe


class Readiness:
    """Of one pod and its probe."""

    def __init__(self, probe: Probe) -> None:
        self.ready = False
        self._probe = probe
        self._last = False
        self._run = 0  # so many outcomes in a row were as the last

    def saw(self, success: bool) -> bool:
        """A probe has ended. Returns whether `ready` changed."""
        self._run = self._run + 1 if success == self._last else 1
        self._last = success
        before = self.ready
        if self.decided:
            self.ready = success
        return self.ready != before

    @property
    def decided(self) -> bool:
        """Whether the run of equal outcomes is long enough: more of them would change nothing."""
        probe = self._probe
        return self._run >= (probe.success_threshold if self._last else probe.failure_threshold)

    @property
    def most_asks(self) -> int:
        """How often one must ask a pod that changes its mind once, until its state is decided."""
        return self._probe.success_threshold + self._probe.failure_threshold - 1
