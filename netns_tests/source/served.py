"""An API server for a running kproxy: the stand-in of the benchmarks, with TLS and a token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from kproxy.bench.api_server import Served
from tests.kubernetes.certificates import Authority, Pair
from tests.kubernetes.kubeconfigs import TOKEN, document, write

Json = dict[str, Any]


class Cluster:
    """An API server that can be taken away and brought back, at the same address."""

    def __init__(self, folder: Path, *, watch_lists: bool = True) -> None:
        self._authority = Authority(folder)
        self._pair: Pair = self._authority.issue("kube-apiserver")
        self._watch_lists = watch_lists
        self._folder = folder
        self.served = self._serve(0)
        self.put({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "node-a"}})

    def _serve(self, port: int) -> Served:
        certificate = (self._pair.certificate, self._pair.key)
        return Served(
            token=TOKEN, certificate=certificate, watch_lists=self._watch_lists, port=port
        )

    @property
    def kubeconfig(self) -> str:
        authority = str(self._authority.certificate)
        cluster = {"server": self.served.url, "certificate-authority": authority}
        return write(self._folder, document(cluster, {"token": TOKEN}))

    def put(self, *objects: Json) -> None:
        for each in objects:
            if each["kind"] in ("Service", "EndpointSlice"):
                each["metadata"].setdefault("namespace", "default")
            self.served.put(each)

    def put_text(self, text: str) -> None:
        """Create or change the objects of a manifest."""
        self.put(*yaml.safe_load_all(text))

    def go(self) -> None:
        """Break off all connections, and refuse others."""
        self.served.close()

    def come_back(self) -> None:
        """Serve what was served before, with none of the events before."""
        gone = self.served
        self.served = self._serve(gone.port)
        self.served.version = gone.version
        self.served.collections.update(gone.collections)
        self.served.compact()


@contextmanager
def cluster(folder: Path, *, watch_lists: bool = True) -> Iterator[Cluster]:
    made = Cluster(folder, watch_lists=watch_lists)
    try:
        yield made
    finally:
        made.go()


def events_of(made: Cluster) -> list[tuple[str, str, str]]:
    """Return reason, kind and name of each Event that the API server was sent."""
    posted = json.loads(json.dumps(made.served.posted))
    return [
        (each["reason"], each["regarding"]["kind"], each["regarding"]["name"]) for each in posted
    ]
