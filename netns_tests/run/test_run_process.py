"""The life of the process of `kproxy run`: its configuration, signals, and the service manager."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kproxy.kernel.running import resident_mib
from netns_tests.run.running import Place, Running, until

CONFIG = """
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: 10.244.0.0/16
conntrack: {maxPerCore: 0}
"""
NODE = """
apiVersion: v1
kind: Node
metadata: {{name: node-a}}
spec: {{podCIDR: {0}, podCIDRs: [{0}]}}
status: {{addresses: [{{type: InternalIP, address: 192.0.2.1}}]}}
"""


@pytest.fixture
def place(place: Place) -> Place:
    """A place where kproxy is started as users do."""
    place.python = sys.executable
    return place


def _listing(place: Place) -> str:
    return place.tool("nft", "--stateless", "list", "ruleset")


def _configured(place: Place) -> Path:
    """Return a configuration file as kubelet mounts a ConfigMap."""
    _put_version(place, 1)
    (place.folder / "config.yaml").symlink_to("..data/config.yaml")
    return place.folder / "config.yaml"


def _put_version(place: Place, number: int) -> None:
    folder = place.folder / f"..version-{number}"
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG)
    fresh = place.folder / "..data_tmp"
    fresh.symlink_to(folder.name)
    fresh.rename(place.folder / "..data")


def _swap(place: Place, _path: Path) -> None:
    _put_version(place, 2)


def _write_the_same(_place: Place, path: Path) -> None:
    path.write_text(CONFIG)


@pytest.mark.parametrize("version", ["1.36", "1.37"])
@pytest.mark.parametrize("write", [_swap, _write_the_same])
def test_a_write_to_the_configuration_ends_it_for_a_restart(
    place: Place,
    service: Callable[..., str],
    version: str,
    write: Callable[[Place, Path], None],
) -> None:
    manifest = place.write("web.manifest.yaml", service("web", "10.96.0.1"))
    config = _configured(place)
    arguments = (f"--config={config}", f"--manifests={manifest}", f"--emulate={version}")
    running = place.start(*arguments)
    rules = _listing(place)
    config.read_text()
    config.chmod(0o600)
    place.write("web.manifest.yaml", service("web", "10.96.0.2"))
    running.says("synced in")
    assert rules != (rules := _listing(place))
    write(place, config)
    until("it ends", lambda: running.process.poll() is not None)
    assert running.ended() == 1
    assert f"kproxy: the configuration file {config} was written" in running.log
    assert "try: let the service manager start it again" in running.log
    assert _listing(place) == rules
    place.start(*arguments)
    assert _listing(place) == rules


def _hang_up(running: Running) -> None:
    seen = running.log.count("SIGHUP is ignored")
    running.process.send_signal(signal.SIGHUP)
    until("it is logged", lambda: running.log.count("SIGHUP is ignored") == seen + 1)


def test_a_hangup_is_logged_and_ignored(place: Place, service: Callable[..., str]) -> None:
    manifest = place.write("web.yaml", service("web", "10.96.0.1"))
    running = place.start(f"--manifests={manifest}")
    for _ in range(3):
        _hang_up(running)
    place.write("web.yaml", service("web", "10.96.0.2"))
    until("it still works", lambda: "10.96.0.2" in place.rules())
    rules = place.rules()
    assert running.stop() == 0
    assert place.rules() == rules


@pytest.mark.parametrize("version", ["1.36", "1.37"])
def test_other_pod_cidrs_end_it_where_they_count(
    place: Place, service: Callable[..., str], version: str
) -> None:
    place.write("web.yaml", service("web", "10.96.0.1"))
    place.write("node.yaml", NODE.format("10.244.1.0/24"))
    arguments = (f"--emulate={version}", f"--manifests={place.folder}", "--proxy-mode=nftables")
    anyhow = place.start(*arguments)
    place.write("node.yaml", NODE.format("10.244.2.0/24"))
    place.write("more.yaml", service("more", "10.96.0.2"))
    anyhow.says("synced in")
    assert anyhow.stop() == 0

    running = place.start("--detect-local-mode=NodeCIDR", *arguments)
    rules = _listing(place)
    assert "10.244.2.0/24" in rules
    place.write("node.yaml", NODE.format("10.244.3.0/24"))
    until("it ends", lambda: running.process.poll() is not None)
    assert running.ended() == 1
    why = "the pod CIDRs of node node-a changed: 10.244.2.0/24 -> 10.244.3.0/24"
    assert f"kproxy: {why}" in running.log
    assert _listing(place) == rules


class Manager:
    """A service manager's socket, with all that it has heard."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self.lines: list[str] = []

    def heard(self) -> list[str]:
        """Return all lines so far."""
        while True:
            try:
                self.lines += self._socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return self.lines

    def hears(self, line: str) -> None:
        until(f"{line} told", lambda: line in self.heard())


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, place: Place, tmp_path: Path) -> Iterator[Manager]:
    """Be a service manager in the namespace of the tests, which is not the proxy's."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.bind(name if request.param == "path" else f"\0{name}")
        opened.setblocking(False)
        place.environment["NOTIFY_SOCKET"] = name if request.param == "path" else f"@{name}"
        place.environment["WATCHDOG_USEC"] = "200000"
        yield Manager(opened)


def test_the_service_manager_is_told(
    place: Place, service: Callable[..., str], manager: Manager
) -> None:
    manifest = place.write("web.yaml", service("web", "10.96.0.1"))
    running = place.start(f"--manifests={manifest}")
    manager.hears("READY=1")
    status = "STATUS=mode iptables, in sync: {} syncs, 0 failed, 0 repairs, 0 rejections"
    assert status.format(1) in manager.heard()
    assert "10.96.0.1" in place.rules()  # not before it was true
    place.write("web.yaml", service("web", "10.96.0.2"))
    manager.hears(status.format(2))
    assert "STOPPING=1" not in manager.heard()
    assert running.stop() == 0
    heard = manager.heard()
    assert heard[-1] == "STOPPING=1"
    assert heard.count("READY=1") == heard.count("STOPPING=1") == 1
    assert heard.count("WATCHDOG=1") > 2


def test_a_loop_that_hangs_does_not_feed_the_watchdog(
    place: Place, service: Callable[..., str], manager: Manager, hanging_restore: Path
) -> None:
    manifest = place.write("web.yaml", service("web", "10.96.0.1"))
    running = place.start(f"--manifests={manifest}")
    manager.hears("WATCHDOG=1")
    hanging_restore.touch()
    place.write("web.yaml", service("web", "10.96.0.2"))
    until("it hangs", lambda: hanging_restore.with_suffix(".hangs").exists())
    before = len(manager.heard())
    end = time.monotonic() + 1
    until("many intervals pass", lambda: time.monotonic() > end)
    assert manager.heard()[before:] == []
    assert running.process.poll() is None
    hanging_restore.unlink()
    until("it goes on", lambda: "WATCHDOG=1" in manager.heard()[before:])


@pytest.fixture
def hanging_restore(place: Place, broken_restore: Path) -> Path:
    """Make every iptables-restore hang while this file exists; at first it does not.

    Another file, with the suffix `.hangs`, tells that one hangs.
    """
    broken_restore.unlink()
    switch = broken_restore.with_name("hang")
    folder = Path(place.environment["PATH"].split(":")[0])
    for program in folder.glob("*-restore"):
        text = program.read_text()
        program.write_text(
            text.replace(
                "\n", f"\nwhile [ -e {switch} ]; do touch {switch}.hangs; sleep 0.05; done\n", 1
            )
        )
    return switch


def test_json_lines_from_the_first_to_the_last(place: Place, service: Callable[..., str]) -> None:
    manifest = place.write("web.yaml", service("web", "10.96.0.1"))
    config = place.folder / "config"
    config.write_text(CONFIG)
    running = place.start(
        f"--config={config}", f"--manifests={manifest}", "--log-format=json", "-v=4"
    )
    running.says("looked for changes by other processes")
    config.write_text(CONFIG)
    assert running.ended() == 1
    lines = [json.loads(line) for line in running.log.splitlines()]
    assert {line["level"] for line in lines} <= {"debug", "info", "warning", "error"}
    assert lines[-1]["level"] == "error"
    assert f"the configuration file {config} was written" in lines[-1]["msg"]


def _descriptors(running: Running) -> int:
    return len(os.listdir(f"/proc/{running.process.pid}/fd"))


@pytest.mark.parametrize("mode", ["iptables", "nftables"])
def test_changes_and_hangups_leave_nothing_in_the_process(
    place: Place, service: Callable[..., str], mode: str
) -> None:
    """Neither descriptors nor memory: after a time they are what they were."""
    manifest = place.write("web.yaml", service("web", "10.96.0.1"))
    running = place.start(
        f"--proxy-mode={mode}", f"--manifests={manifest}", "--iptables-min-sync-period=0s"
    )

    def change(number: int) -> None:
        address = f"10.96.1.{number}"
        place.write("web.yaml", service("web", address))
        until("it is in force", lambda: address in _listing(place))
        place.write("web.yaml", service("web", address, port="none"))  # is rejected
        if number % 10 == 0:
            _hang_up(running)

    for number in range(1, 21):
        change(number)
    descriptors, resident = _descriptors(running), resident_mib(running.process.pid)
    for number in range(21, 81):
        change(number)
    until("no more descriptors", lambda: _descriptors(running) <= descriptors)
    assert resident_mib(running.process.pid) <= 1.05 * resident
    assert running.stop() == 0
