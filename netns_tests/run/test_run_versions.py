"""`kproxy run --emulate`: what a process does in one version, and in another does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kproxy.kernel import sysctl
from kproxy.kernel.process import run
from netns_tests.run.running import Place, until

NODE = """
apiVersion: v1
kind: Node
metadata: {{name: node-a}}
status: {{addresses: [{{type: InternalIP, address: {address}}}]}}
"""
MAX = "net/netfilter/nf_conntrack_max"


@pytest.mark.parametrize("change", ["address", "deleted"])
@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_1_37_ends_when_its_node_changes(
    place: Place, service: Callable[..., str], mode: str, change: str
) -> None:
    place.write("web.yaml", service("web", "10.96.0.1"))
    node = place.write("node.yaml", NODE.format(address="192.0.2.1"))
    running = place.start(f"--proxy-mode={mode}", f"--manifests={place.folder}")
    place.write("other.yaml", NODE.replace("node-a", "node-b").format(address="192.0.2.9"))
    place.write("more.yaml", service("more", "10.96.0.2"))
    running.says("synced in")
    rules = place.tool("nft", "--stateless", "list", "ruleset")
    if change == "deleted":
        node.unlink()
        why = "its Node object was deleted"
    else:
        place.write("node.yaml", NODE.format(address="192.0.2.2"))
        why = "the addresses of node node-a changed: 192.0.2.1 -> 192.0.2.2"
    until("it ends", lambda: running.process.poll() is not None)
    assert running.ended() == 1
    assert f"kproxy: {why}" in running.log
    assert "try: let the service manager start it again" in running.log
    assert "Traceback" not in running.log
    assert place.tool("nft", "--stateless", "list", "ruleset") == rules


def test_1_36_goes_on_when_its_node_changes(place: Place, service: Callable[..., str]) -> None:
    place.write("web.yaml", service("web", "10.96.0.1"))
    node = place.write("node.yaml", NODE.format(address="192.0.2.1"))
    running = place.start("--emulate", "1.36", f"--manifests={place.folder}")
    place.write("node.yaml", NODE.format(address="192.0.2.2"))
    running.says("the addresses of node node-a changed: 192.0.2.1 -> 192.0.2.2")
    node.unlink()
    running.says("its Node object was deleted")
    place.write("more.yaml", service("more", "10.96.0.2"))
    until("it still works", lambda: "10.96.0.2" in place.rules())
    assert running.stop() == 0


@pytest.mark.parametrize(("version", "warns"), [("1.36", False), ("1.37", True)])
def test_an_unset_mode(
    place: Place, service: Callable[..., str], version: str, warns: bool
) -> None:
    manifest = str(place.write("web.yaml", service("web", "10.96.0.1")))
    arguments = ["--once", f"--manifests={manifest}", f"--emulate={version}"]
    warning = (
        "--proxy-mode: is not set, so it is iptables; from 1.40 on kube-proxy will use nftables"
    )
    assert (warning in place.once(*arguments).stderr) == warns
    assert warning not in place.once(*arguments, "--proxy-mode=iptables").stderr
    assert warning not in place.once("--cleanup", f"--emulate={version}").stderr


def test_the_flag_replaces_the_version_of_the_file(
    place: Place, service: Callable[..., str]
) -> None:
    manifest = str(place.write("web.yaml", service("web", "10.96.0.1")))
    config = place.folder / "config.conf"
    config.write_text(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
        'mode: nftables\nemulate: "1.36"\n'
    )
    arguments = ["--once", f"--manifests={manifest}", f"--config={config}"]
    assert place.once(*arguments).returncode == 0
    assert "numgen random mod 1 map" in place.tool("nft", "list", "ruleset")
    assert place.once(*arguments, "--emulate=1.37").returncode == 0
    assert "dnat to 10.244.1.5:8080" in place.tool("nft", "list", "ruleset")


@pytest.mark.parametrize(("version", "starts"), [("1.37", False), ("1.38-alpha", True)])
def test_a_large_enough_conntrack_table_is_left_alone_by_1_38(
    place: Place, service: Callable[..., str], version: str, starts: bool
) -> None:
    """Only the machine's first namespace may change its size: elsewhere, to try is to fail."""
    manifest = str(place.write("web.yaml", service("web", "10.96.0.1")))
    size = int(place.namespace.run(lambda: sysctl.read(MAX)))
    arguments = ["--once", f"--manifests={manifest}", f"--emulate={version}"]
    less = place.once(*arguments, "--conntrack-max-per-core=1", f"--conntrack-min={size - 1}")
    assert (less.returncode == 0) == starts, less.stderr
    more = place.once(*arguments, "--conntrack-max-per-core=1", f"--conntrack-min={size + 1}")
    assert more.returncode == 1
    assert f"cannot set {MAX} to {size + 1}" in more.stderr
    assert int(run(["sysctl", "-n", MAX.replace("/", ".")])) == size
