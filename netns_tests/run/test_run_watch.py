"""`kproxy run`, watching: edits, faults, changes by other processes, and the end."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from netns_tests.run.running import Place, Running, until

Text = Callable[..., str]


@pytest.fixture
def web(place: Place, service: Text) -> Running:
    """Yield a kproxy that watches a folder with web.yaml: 10.96.0.1."""
    place.write("web.yaml", service("web", "10.96.0.1"))
    return place.start("--manifests", str(place.folder))


def test_ready_says_what_is_served(web: Running) -> None:
    web.says("ready: mode iptables, IPv4 and IPv6, 1 services, first sync ")


def test_edited_added_and_removed_files_reach_the_kernel(
    place: Place, service: Text, web: Running
) -> None:
    place.write("web.yaml", service("web", "10.96.0.2"))
    until("the new address", lambda: "10.96.0.2" in place.rules())
    assert "10.96.0.1" not in place.rules()
    place.write("dns.yaml", service("dns", "10.96.0.10"))
    until("the new file", lambda: "10.96.0.10" in place.rules())
    (place.folder / "dns.yaml").unlink()
    until("its removal", lambda: "10.96.0.10" not in place.rules())
    assert "10.96.0.2" in place.rules()
    assert web.stop() == 0


def test_a_file_written_in_place_and_one_behind_a_link(place: Place, service: Text) -> None:
    """The first is how `>` in a shell writes, the second how a mounted ConfigMap changes."""
    plain = place.write("plain.yaml", service("plain", "10.96.0.1"))
    for version in ("1", "2"):
        (place.folder / version).mkdir()
        (place.folder / version / "linked.yaml").write_text(service("linked", f"10.96.1.{version}"))
    (place.folder / "..data").symlink_to("1")
    (place.folder / "linked.yaml").symlink_to("..data/linked.yaml")
    place.start("--manifests", str(place.folder))
    assert "10.96.1.1" in place.rules()
    plain.write_text(service("plain", "10.96.0.2"))
    until("the edit in place", lambda: "10.96.0.2" in place.rules())
    (place.folder / "..new").symlink_to("2")
    (place.folder / "..new").rename(place.folder / "..data")
    until("the swap of the link", lambda: "10.96.1.2" in place.rules())


def test_an_invalid_edit_keeps_that_files_rules_and_does_not_hold_up_others(
    place: Place, service: Text, web: Running
) -> None:
    place.write("web.yaml", service("web", "10.96.0.2", port=0))
    web.says("rejection 1")
    assert "web.yaml" in web.log
    assert "port" in web.log
    place.write("dns.yaml", service("dns", "10.96.0.10"))
    until("the other file", lambda: "10.96.0.10" in place.rules())
    assert "10.96.0.1/32" in place.rules()
    assert "10.96.0.2" not in place.rules()
    place.write("web.yaml", "{ this is: [ no YAML")
    web.says("rejection 2")
    place.write("web.yaml", "")
    web.says("rejection 3")
    assert "10.96.0.1/32" in place.rules()
    place.write("web.yaml", service("web", "10.96.0.3"))
    until("the fixed file", lambda: "10.96.0.3" in place.rules())
    assert "10.96.0.1/32" not in place.rules()


def test_a_named_file_that_vanishes_is_missed_and_stays_in_force(
    place: Place, service: Text
) -> None:
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    running = place.start("--manifests", str(path))
    path.unlink()
    running.says("web.yaml: no such file or folder")
    assert "10.96.0.1" in place.rules()
    place.write("web.yaml", service("web", "10.96.0.2"))
    until("its return", lambda: "10.96.0.2" in place.rules())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_and_the_rules_stay(
    place: Place, web: Running, number: signal.Signals
) -> None:
    rules = place.rules()
    assert "10.96.0.1" in rules
    assert web.stop(number) == 0
    assert place.rules() == rules
    assert "stopped; the rules stay" in web.log


def test_a_terminal_that_is_closed_does_not_end_it(
    place: Place, service: Text, web: Running
) -> None:
    web.process.send_signal(signal.SIGHUP)
    place.write("web.yaml", service("web", "10.96.0.2"))
    until("the change", lambda: "10.96.0.2" in place.rules())
    assert web.stop(signal.SIGTERM) == 0


def test_after_a_kill_the_next_one_takes_over(place: Place, service: Text, web: Running) -> None:
    web.stop(signal.SIGKILL)
    assert "10.96.0.1" in place.rules()
    place.write("web.yaml", service("web", "10.96.0.2"))
    place.start("--manifests", str(place.folder))
    assert "10.96.0.2" in place.rules()
    assert "10.96.0.1" not in place.rules()


@pytest.mark.parametrize("arguments", ["", "--once", "--cleanup"])
def test_a_second_one_is_refused_with_the_pid_of_the_first(
    place: Place, web: Running, arguments: str
) -> None:
    done = place.once("--manifests", str(place.folder), *arguments.split())
    assert done.returncode == 1
    assert f"the kproxy with pid {web.process.pid}" in done.stderr
    assert web.process.poll() is None


FLUSHES = {
    "nat rules": ["iptables -t nat -F"],
    "everything": [
        f"iptables -t {table} {what}"
        for table in ("nat", "filter", "mangle")
        for what in ("-F", "-X")
    ],
    "ruleset": ["nft flush ruleset"],
    "IPv6 everything": [
        f"ip6tables -t {table} {what}"
        for table in ("nat", "filter", "mangle")
        for what in ("-F", "-X")
    ],
}


@pytest.mark.parametrize("commands", FLUSHES.values(), ids=FLUSHES)
def test_flushed_rules_come_back(
    place: Place, service: Text, web: Running, commands: list[str]
) -> None:
    place.write("web6.yaml", service("web6", "fd00:96::1"))
    until("IPv6", lambda: "fd00:96::1" in place.rules())
    before = place.rules()
    with web.halted():  # else it may have repaired them before we look
        for command in commands:
            place.tool(*command.split())
        assert place.rules() != before
    until("the rules", lambda: place.rules() == before)
    web.says("changed by another process")


def test_a_failing_restore_leaves_the_rules_and_is_retried(
    place: Place, service: Text, broken_restore: Path
) -> None:
    broken_restore.unlink()
    place.write("web.yaml", service("web", "10.96.0.1"))
    running = place.start("--manifests", str(place.folder))
    before = place.rules()
    broken_restore.touch()
    place.write("web.yaml", service("web", "10.96.0.2"))
    running.says("sync failed (2 in a row)")
    assert "sabotaged" in running.log
    assert place.rules() == before
    broken_restore.unlink()
    until("the retry", lambda: "10.96.0.2" in place.rules())
    running.says("synced again after")
    assert "10.96.0.1" not in place.rules()
    assert running.stop() == 0


def test_it_starts_although_the_first_sync_fails(
    place: Place, service: Text, broken_restore: Path
) -> None:
    """A node whose tables another process locks at boot must not need a restart."""
    place.write("web.yaml", service("web", "10.96.0.1"))
    running = place.start_without_waiting("--manifests", str(place.folder))
    running.says("sync failed (1 in a row)")
    broken_restore.unlink()
    running.says("ready:")
    assert "10.96.0.1" in place.rules()


@pytest.mark.parametrize("successor", ["--iptables-variant=nft", "--proxy-mode=nftables"])
def test_what_another_mode_left_is_removed(place: Place, service: Text, successor: str) -> None:
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    flags = ("--manifests", str(path))
    assert place.once(*flags, "--once", "--iptables-variant=legacy").returncode == 0
    assert "KUBE-" in place.tool("iptables-legacy-save")
    running = place.start(*flags, successor)
    running.says("removed what iptables mode had left")
    assert "KUBE-" not in place.tool("iptables-legacy-save") + place.tool("ip6tables-legacy-save")
    assert "10.96.0.1" in place.tool("nft", "list", "ruleset")


def test_a_leftover_that_is_in_use_is_reported_and_all_else_is_removed(
    place: Place, service: Text
) -> None:
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    flags = ("--manifests", str(path))
    assert place.once(*flags, "--once", "--iptables-variant=legacy").returncode == 0
    place.tool("iptables-legacy", "-t", "nat", "-A", "OUTPUT", "-j", "KUBE-MARK-MASQ")
    running = place.start(*flags, "--iptables-variant=nft")
    running.says(
        "cannot remove leftovers, next try in 30 s: iptables IPv4: nat KUBE-MARK-MASQ was emptied"
    )
    assert "10.96.0.1" not in place.tool("iptables-legacy-save")
    assert "10.96.0.1" in place.rules()
