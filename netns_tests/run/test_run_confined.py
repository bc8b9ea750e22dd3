"""`kproxy run` in the confinement of deploy/daemonset.yaml, made by hand: its capabilities and no
others, settings and files that cannot be written.

Not in ipvs mode: on user-mode Linux, which the tests have for it, programs are started by a helper
that needs more.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from kproxy.kernel import sysctl
from netns_tests.modes import IPTABLES, PACKET_FILTERS, Mode
from netns_tests.run.running import Place, until

DAEMONSET = Path(__file__).parents[2] / "deploy" / "daemonset.yaml"
ROUTE_LOCALNET = "net/ipv4/conf/all/route_localnet"
CONFINED = """
set -e
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t tmpfs tmpfs /run
touch /run/xtables.lock
mount -o remount,bind,ro /
capabilities=$1
shift
exec setpriv --no-new-privs --bounding-set "-all,$capabilities" "$@"
"""
NUMBERS = {"NET_ADMIN": 12, "NET_RAW": 13}  # linux/capability.h


def _added() -> list[str]:
    pod = yaml.safe_load(DAEMONSET.read_text())["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    added: list[str] = container["securityContext"]["capabilities"]["add"]
    return added


class Confined(Place):
    """A place whose proxies are confined, unless they run with --init-only."""

    def argv(self, *arguments: str) -> list[str]:
        if "--init-only" in arguments:
            return super().argv(*arguments)
        capabilities = ",".join(f"+{name.lower()}" for name in _added())
        return [
            *("nsenter", f"--net=/run/netns/{self.name}", "unshare", "--mount"),
            *("sh", "-c", CONFINED, "sh", capabilities),
            *(sys.executable, "-m", "kproxy", "run", *arguments),
        ]


@pytest.fixture
def confined(place: Place) -> Iterator[Confined]:
    here = Confined(place.namespace, place.name, place.folder)
    here.python = sys.executable
    here.environment["XTABLES_LOCKFILE"] = "/run/xtables.lock"  # not that of the tests
    try:
        yield here
    finally:
        here.end()


def _flags(mode: Mode) -> list[str]:
    layout, variant = mode.layout, mode.variant
    return [
        f"--proxy-mode={mode.name}",
        f"--nftables-layout={layout}",
        f"--iptables-variant={variant}",
        "--conntrack-max-per-core=0",  # only the machine's first namespace may change it
    ]


@pytest.mark.parametrize("mode", PACKET_FILTERS, ids=str)
def test_it_works_with_these_capabilities_and_no_others(
    confined: Confined, service: Callable[..., str], mode: Mode
) -> None:
    manifest = confined.write("web.yaml", service("web", "10.96.0.1"))
    node = confined.write("node.yaml", "{kind: Node, apiVersion: v1, metadata: {name: node-a}}")
    assert confined.once("--init-only", *_flags(mode)).returncode == 0
    running = confined.start(f"--manifests={manifest}", f"--manifests={node}", *_flags(mode))
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    effective = int(next(line for line in status.splitlines() if "CapEff" in line).split()[1], 16)
    assert effective == sum(1 << NUMBERS[name] for name in _added())
    confined.write("web.yaml", service("web", "10.96.0.2"))
    until("the change", lambda: "10.96.0.2" in confined.namespace.run(mode.dump))
    assert "10.96.0.1" not in confined.namespace.run(mode.dump)
    assert running.stop() == 0
    assert "10.96.0.2" in confined.namespace.run(mode.dump)
    warnings = [line for line in running.log.splitlines() if " WARNING " in line]
    assert [each for each in warnings if "nodePort" not in each and "clusterCIDR" not in each] == []


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
def test_without_the_settings_it_says_who_can_write_them(
    confined: Confined, service: Callable[..., str], mode: Mode
) -> None:
    manifest = confined.write("web.yaml", service("web", "10.96.0.1"))
    timeouts = [f"--conntrack-tcp-timeout-{name}=0s" for name in ("established", "close-wait")]
    ended = confined.once("--once", f"--manifests={manifest}", *_flags(mode), *timeouts)
    assert ended.returncode == 1
    assert f"cannot set {ROUTE_LOCALNET} to 1: Read-only file system" in ended.stderr
    assert "run --init-only in one before" in ended.stderr


@pytest.mark.parametrize("mode", IPTABLES, ids=str)
def test_a_setting_that_cannot_be_reset_keeps_the_rule_that_makes_it_harmless(
    confined: Confined, service: Callable[..., str], mode: Mode
) -> None:
    """In between, the network must not reach what listens on 127.0.0.1."""
    manifest = confined.write("web.yaml", service("web", "10.96.0.1"))
    assert confined.once("--init-only", *_flags(mode)).returncode == 0
    running = confined.start(f"--manifests={manifest}", *_flags(mode))
    running.stop()
    other = confined.start(f"--manifests={manifest}", *_flags(Mode("nftables")))
    other.says("cannot remove leftovers, next try in 30 s")
    assert "so KUBE-FIREWALL stays" in other.log
    left = confined.namespace.run(mode.dump)
    assert "-A INPUT -j KUBE-FIREWALL" in left
    assert "block incoming localnet connections" in left
    assert "KUBE-SVC" not in left
    other.stop()
    free = Place(confined.namespace, confined.name, confined.folder)
    ended = free.once("--cleanup")
    assert ended.returncode == 0, ended.stderr
    assert "KUBE-" not in confined.namespace.run(mode.dump)
    assert confined.namespace.run(lambda: sysctl.read(ROUTE_LOCALNET)) == "0"
