"""`kproxy trace --node` finds the namespaces of pods by their processes, as on a real node."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from kproxy.testing import LabFactory, ProbedLab
from netns_tests.modes import Mode
from netns_tests.trace.test_traces import CLUSTER_IPS, V4, built
from netns_tests.trace.watched import NODE, PATIENCE_S, ask, effects, hops
from netns_tests.up.machine import KPROXY

# A machine of its own: other processes are not to be seen, nor other names of namespaces. Each
# "pod" is a process that has entered its namespace before the command begins.
MACHINE = """
mkdir -p /run/netns; mount -t tmpfs none /run/netns
own=$(readlink /proc/self/ns/net)
while [ "$1" != -- ]; do
  HOSTNAME=$1 nsenter --net=/proc/self/fd/$2 tail -f /dev/null &
  while [ "$(readlink /proc/$!/ns/net)" = "$own" ]; do :; done
  shift 2
done
shift
exec "$@"
"""
PODS = {"visitor-7d4-x2x": "visitor", "web-5bc-q9z": "web", "kind-worker": "node-b"}


@contextmanager
def tracing(lab: ProbedLab, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the command on a machine with these pods; it waits for packets when this returns."""
    files = {name: lab.hosts[host].namespace.fileno() for name, host in PODS.items()}
    pods = [word for name, file in files.items() for word in (name, str(file))]
    own = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
    with lab.hosts[NODE].namespace.entered():
        process = subprocess.Popen(
            [*own, "sh", "-c", MACHINE, "sh", *pods, "--", *KPROXY, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=files.values(),
        )
    with process:
        try:
            assert process.stderr
            assert any("waiting for" in line for line in process.stderr)
            yield process
        finally:
            process.kill()


def test_pods_are_called_as_they_call_themselves(kproxy_lab: LabFactory) -> None:
    lab = built(kproxy_lab, Mode("iptables", "nft"))
    with tracing(lab, "trace", "--node", f"{CLUSTER_IPS[V4]}:80", "--json") as process:
        ask(lab.hosts["visitor"], CLUSTER_IPS[V4], 80)
        out, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    found = json.loads(out)
    node = hops(found, "request")[1]["host"]
    ways = [[hop["host"] for hop in hops(found, role)] for role in ("request", "reply")]
    way = ["visitor-7d4-x2x", node, "kind-worker", "web-5bc-q9z"]
    assert ways == [way, way[::-1]]
    assert [hop["kind"] for hop in hops(found, "request")] == [
        *("namespace", "node", "namespace", "namespace")
    ]
    assert "dnat" in effects(hops(found, "request")[1])
    assert hops(found, "reply")[2]["steps"]
