"""The ingress controller of a lab: it configures each ingress pod's nginx from the objects."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from msgspec import Struct

from kproxy.lab.hosts import LabPod
from kproxy.lab.pods.nginx_config import render
from kproxy.store import Store, Update

if TYPE_CHECKING:
    from kproxy.lab.pods.nginx import Nginx


class _Server(Struct):
    pod: LabPod
    nginx: Nginx
    config: str  # the last one that it was given


class IngressController:
    """The ingress pods, each of which serves all Ingress objects of class nginx or of none."""

    def __init__(self, pods: Iterable[LabPod]) -> None:
        """Start the nginx of each pod; without objects it answers with 404.

        Raises Unsupported if nginx is not installed, KernelRefused.
        """
        self._store = Store()
        self._servers: list[_Server] = []
        with ExitStack() as undo:
            undo.callback(self._servers.clear)
            for pod in pods:
                config = render(pod.serves, self._store)
                nginx = _nginx(pod, config)
                undo.callback(nginx.close)
                self._servers.append(_Server(pod, nginx, config))
            for server in self._servers:
                server.nginx.await_start()
            self._undo = undo.pop_all()

    def follow(self, update: Update) -> None:
        """Apply an update, and reload every nginx whose configuration it changes.

        Returns when these have their new configuration. Raises KernelRefused, after all of them
        were reloaded or have failed.
        """
        if not self._servers:
            return
        self._store.apply(update)
        changed = []
        for server in self._servers:
            config = render(server.pod.serves, self._store)
            if config != server.config:
                server.nginx.reload(config)
                server.config = config
                changed.append(server)
        with ExitStack() as waits:
            for server in changed:
                waits.callback(server.nginx.await_reload)

    def close(self) -> None:
        """End every nginx; all their processes have ended then."""
        self._undo.close()


def _nginx(pod: LabPod, config: str) -> Nginx:
    from kproxy.lab.pods.nginx import Nginx  # few labs have an ingress

    return Nginx(pod, config)
