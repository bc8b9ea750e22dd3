"""Mininet beside a lab, where it is installed: `python -m kproxy.bench.mininet SIZE` prints JSON.

It has as many hosts as the lab has pods, each a namespace with a cable to one of as many bridges as
the lab has nodes; the first host must reach the last one, which refuses its connection. That is
less than a lab: there is no router, no IPv6 and no server.

- build: from the description until the first host has reached the last one
- down: from the call that ends it until the kernel has taken down all its namespaces

kproxy does not import Mininet. A program runs it with the system's Python, for which Debian's
package installs it, in a namespace of its own: Mininet's bridges are in that of its process.
"""

from __future__ import annotations

import time

from msgspec import Struct

from kproxy.bench.lab import await_taken_down
from kproxy.bench.results import MininetResult, MininetSize
from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel.measurement import answer
from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run
from kproxy.kernel.running import on_uml
from kproxy.typed import decoded

NOT_INSTALLED = "mininet is not measured beside: it is not installed (Debian package mininet)"

_PYTHON = "/usr/bin/python3"
_TIMEOUT_S = 3600
_VERSION = "from mininet.net import VERSION; print(VERSION)"

# `inited`: otherwise Mininet raises limits of the whole machine. Its own LinuxBridge needs brctl.
_PROGRAM = """
import json, resource, sys, time
from mininet.net import Mininet
from mininet.node import Switch
from mininet.topo import Topo

class Bridge(Switch):
    def start(self, controllers):
        self.cmd("ip link add", self.name, "type bridge")
        for each in self.intfList():
            if each.name.startswith(self.name + "-"):
                self.cmd("ip link set", each.name, "master", self.name)
        self.cmd("ip link set", self.name, "up")

    def stop(self, deleteIntfs=True):
        self.cmd("ip link del", self.name)
        super().stop(deleteIntfs)

class Tree(Topo):
    def build(self, hosts, bridges):
        switches = [self.addSwitch(f"s{number + 1}") for number in range(bridges)]
        for each in switches[1:]:
            self.addLink(switches[0], each)
        for number in range(hosts):
            self.addLink(self.addHost(f"h{number + 1}"), switches[number % bridges])

Mininet.inited = True
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
begin = time.monotonic()
net = Mininet(topo=Tree(*map(int, sys.argv[1:])), switch=Bridge, controller=None)
try:
    net.start()
    seen = net.hosts[0].cmd(f"timeout 5 bash -c ': >/dev/tcp/{net.hosts[-1].IP()}/9'")
    up = time.monotonic()
finally:
    net.stop()
if "refused" not in seen:
    sys.exit("the first host does not reach the last one: " + seen)
print(json.dumps({"begin": begin, "up": up}))
"""


class _Moments(Struct):
    """Moments of the clock that all processes share, in seconds, as the program prints them."""

    begin: float
    up: float


def version() -> str:
    """Return the version of the Mininet that the system's Python has, "" if it has none."""
    try:
        return run([_PYTHON, "-c", _VERSION]).strip()
    except (KernelRefused, Unsupported):
        return ""


def measure(size: MininetSize) -> MininetResult:
    """Measure in this process, which should be a new one. Raises KproxyError."""
    with Namespace.create("bench") as here, here.entered():
        argv = [_PYTHON, "-", str(size.pods), str(size.nodes)]
        printed = run(argv, _PROGRAM, timeout_s=_TIMEOUT_S)
        moments = decoded(printed, _Moments)
        await_taken_down()
        down = time.monotonic()
    return MininetResult(
        size=size,
        user_mode_linux=on_uml(),
        build_s=moments.up - moments.begin,
        down_s=down - moments.up,
    )


if __name__ == "__main__":
    answer(measure, MininetSize)
