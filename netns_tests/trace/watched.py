"""A lab whose hosts have names, and commands that watch them."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from kproxy.address import socket_family
from kproxy.kernel import sysctl
from kproxy.kernel.process import run
from kproxy.lab import LabHost
from kproxy.testing import ProbedLab
from tests.warm_kproxy import Kproxy, fork_with

fork_with("kproxy.cli.trace", "kproxy.cli.trace_node", "kproxy.explain.watching")

NODE = "node-a"
WATCHED = (NODE, "node-b", "visitor", "web")
PATIENCE_S = 60
SETTINGS = ("net/netfilter/nf_log/2", "net/netfilter/nf_log/10")


class Node:
    """A lab whose hosts have names, so that a command on a node can watch them."""

    def __init__(self, lab: ProbedLab) -> None:
        self.lab = lab
        self.names = {name: f"t{os.getpid()}-{name}" for name in WATCHED}
        for name, published in self.names.items():
            lab.hosts[name].namespace.publish(published)

    def close(self) -> None:
        for name in WATCHED:
            self.lab.hosts[name].namespace.unpublish()

    def host(self, name: str) -> LabHost:
        return self.lab.hosts[name]

    @contextmanager
    def tracing(
        self, *arguments: str, watched: tuple[str, ...] = WATCHED, at: str = NODE
    ) -> Iterator[Kproxy]:
        """Start the command on a node; it waits for packets when this returns."""
        names = [word for each in watched for word in ("--netns", self.names[each])]
        with self.host(at).namespace.entered():
            command = ("trace", "--node", *arguments, *names)
            process = Kproxy(command, env=os.environ, output=True)
        with process:
            try:
                said = ""
                while "waiting for" not in said:
                    line = process.stderr.readline()
                    assert line, said
                    said += line
                yield process
            finally:
                process.kill()

    def left(self) -> Mapping[str, object]:
        """Return what a command could leave on the hosts."""
        found = {}
        for name in WATCHED:
            with self.host(name).namespace.entered():
                found[name] = (
                    run(["nft", "list", "tables"]),
                    [sysctl.read(each) for each in SETTINGS],
                )
        return found

    def short(self, values: object) -> Any:
        """Return JSON with the lab's names of hosts."""
        text = json.dumps(values)
        for name, published in self.names.items():
            text = text.replace(published, name)
        return json.loads(text)


def ask(host: LabHost, address: str, port: int, *, kind: int = socket.SOCK_STREAM) -> None:
    """Send a request by a socket of the kernel, and wait for an answer or a refusal."""
    with host.namespace.entered():
        asking = socket.socket(socket_family(address), kind)
    with asking, suppress(ConnectionError):
        asking.settimeout(PATIENCE_S)
        asking.connect((address, port))
        if kind == socket.SOCK_DGRAM:
            asking.send(b"kproxy asks who is there")
            asking.recv(100)


def result(process: Kproxy, *, status: int = 0) -> Any:
    out, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == status, said
    return json.loads(out)


def hops(found: Any, role: str) -> list[Any]:
    return [hop for hop in found["hops"] if hop["role"] == role]


def effects(hop: Any) -> list[str]:
    return [step["effect"] for step in hop["steps"] if step["effect"]]
