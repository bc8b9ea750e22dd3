"""The kubelet's rules that decide from readiness probes whether a pod is ready.

Source: pkg/kubelet/prober/worker.go of v1.36. A pod starts not ready. Its state changes after as
many equal outcomes in a row as the threshold of that outcome.
"""

from __future__ import annotations

from kproxy.api.types import Probe


class Readiness:
    """The readiness of one pod by its probe."""

    def __init__(self, probe: Probe) -> None:
        self.ready = False
        self._probe = probe
        self._last = False
        self._run = 0  # number of outcomes in a row that equal the last

    def saw(self, success: bool) -> bool:
        """Note the outcome of a probe; return whether `ready` changed."""
        self._run = self._run + 1 if success == self._last else 1
        self._last = success
        before = self.ready
        if self.decided:
            self.ready = success
        return self.ready != before

    @property
    def decided(self) -> bool:
        """Tell whether the run of equal outcomes is so long that more would change nothing."""
        probe = self._probe
        return self._run >= (probe.success_threshold if self._last else probe.failure_threshold)

    @property
    def most_asks(self) -> int:
        """Return how many probes decide the state of a pod whose answer changes at most once."""
        return self._probe.success_threshold + self._probe.failure_threshold - 1
