"""The ingress controller of a lab: keeps the nginx of each ingress pod on the present objects."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack

from msgspec import Struct

from kproxy.lab.hosts import LabPod
from kproxy.lab.pods.nginx import Nginx, listens
from kproxy.lab.pods.nginx_config import render
from kproxy.store import Store, Update


class _Server(Struct):
    pod: LabPod
    nginx: Nginx
    config: str  # that it was last told


class IngressController:
    """All its pods serve all Ingress objects of class nginx, or of none."""

    def __init__(self, pods: Iterable[LabPod]) -> None:
        """Start them; without objects they answer with 404.

        Raises Unsupported if nginx is not installed, KernelRefused.
        """
        self._store = Store()
        self._servers: list[_Server] = []
        with ExitStack() as undo:
            undo.callback(self._servers.clear)
            for pod in pods:
                config = render(listens(pod), self._store)
                nginx = Nginx(pod, config)
                undo.callback(nginx.close)
                self._servers.append(_Server(pod, nginx, config))
            for server in self._servers:
                server.nginx.await_start()
            self._undo = undo.pop_all()

    def follow(self, update: Update) -> None:
        """Take the objects; reload every nginx to whom that makes a difference.

        Returns when these have their new configuration. Raises KernelRefused; all have had their
        turn then.
        """
        if not self._servers:
            return
        self._store.apply(update)
        altered = []
        for server in self._servers:
            config = render(listens(server.pod), self._store)
            if config != server.config:
                server.nginx.reload(config)
                server.config = config
                altered.append(server)
        with ExitStack() as waits:
            for server in altered:
                waits.callback(server.nginx.await_reload)

    def close(self) -> None:
        """End every nginx; all their processes are gone then."""
        self._undo.close()
