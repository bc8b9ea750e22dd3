"""The namespaces of a lab under /run/netns, for `ip netns`; and the resolv.conf of its pods."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from kproxy.kernel.netns import Namespace
from kproxy.lab import leftovers, names, netns_files


class Publisher:
    """The published names of one lab's hosts; `close` removes all of them."""

    def __init__(self, lab: str) -> None:
        self._lab = lab
        self._published: dict[str, Namespace] = {}  # by name under /run/netns
        self._record: Path | None = None

    def add(self, hosts: Mapping[str, Namespace], resolv_conf: str = "") -> None:
        """Publish `hosts`, which are by name; for pods, `resolv_conf` is the text of that file.

        Raises NamespaceBusy if a name is taken, BadInput for a resolv.conf that is not ours,
        Unsupported.
        """
        fresh = {names.published(self._lab, host): each for host, each in hosts.items()}
        self._write({**self._published, **fresh})
        for name, namespace in fresh.items():
            namespace.publish(name)
            self._published[name] = namespace
            if resolv_conf:
                netns_files.write_resolv_conf(name, resolv_conf)

    def remove(self, host: str) -> None:
        """Remove a host's name; nothing is done if it is not published."""
        name = names.published(self._lab, host)
        if name in self._published:
            self._take_back(name)
            self._write(self._published)

    def close(self) -> None:
        with ExitStack() as steps:
            if self._record:
                steps.callback(leftovers.forget, self._record)
            for name in list(self._published):
                steps.callback(self._take_back, name)

    def _take_back(self, name: str) -> None:
        netns_files.remove_resolv_conf(name)
        self._published.pop(name).unpublish()

    def _write(self, published: Mapping[str, Namespace]) -> None:
        """Write the record, before a name is added and after it is removed: so a killed lab leaves
        no unrecorded name.
        """
        self._record = leftovers.record(self._lab, published)
