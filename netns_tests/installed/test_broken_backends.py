"""Broken backends of other packages: if their mode is not used, they cause only one log line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from netns_tests.installed.environment import Environment, make
from netns_tests.installed.plugins import FAULTS, install
from netns_tests.run.running import Place, until

BYSTANDERS = ("unimportable", "readless", "unreadable")  # their modes are not used
Service = Callable[..., str]


@pytest.fixture(scope="module")
def crowded(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Return an environment with three broken backends beside kproxy's own."""
    install(environment, BYSTANDERS, tmp_path_factory.mktemp("wheels"))
    return environment


@pytest.fixture
def there(crowded: Environment, place: Place) -> Place:
    """Return a namespace where the kproxy of that environment runs, outside the checkout."""
    place.python = str(crowded.python)
    place.cwd = place.folder
    place.environment = crowded.variables
    return place


def faults(log: str) -> dict[str, int]:
    """Return how often the log has each bystander's fault."""
    return {name: log.count(FAULTS[name]) for name in BYSTANDERS}


ONCE_EACH = dict.fromkeys(BYSTANDERS, 1)
MODES = ["iptables", "nftables"]


@pytest.mark.parametrize("mode", MODES)
def test_run_goes_on_beside_them(mode: str, there: Place, service: Service) -> None:
    """It runs the first sync, the search for leftovers, searches for damage, and a change."""
    path = there.write("web.yaml", service("web", "10.96.0.1"))
    running = there.start("--manifests", str(path), f"--proxy-mode={mode}")
    until("the look for leftovers", lambda: faults(running.log) == ONCE_EACH)
    there.write("web.yaml", service("web", "10.96.0.1") + "---" + service("shop", "10.96.0.2"))
    running.says("synced in")
    assert running.stop() == 0
    assert faults(running.log) == ONCE_EACH
    assert "Traceback" not in running.log


@pytest.mark.parametrize("mode", MODES)
def test_once_and_cleanup(mode: str, there: Place, service: Service) -> None:
    path = there.write("web.yaml", service("web", "10.96.0.1"))
    before = there.rules() + there.tool("nft", "list", "ruleset")
    done = there.once("--manifests", str(path), "--once", f"--proxy-mode={mode}")
    assert done.returncode == 0, done.stderr
    assert faults(done.stderr) == ONCE_EACH
    assert there.rules() + there.tool("nft", "list", "ruleset") != before
    done = there.once("--cleanup")
    assert done.returncode == 0, done.stderr
    # Its `cleanup` works, so no warning says that something is left.
    assert faults(done.stderr) == ONCE_EACH | {"unreadable": 0}
    assert "Traceback" not in done.stderr
    assert "KUBE-" not in there.rules()
    assert "kube-proxy" not in there.tool("nft", "list", "tables")


def test_once_in_ipvs_mode(there: Place, service: Service) -> None:
    """Where the kernel has no IPVS the command runs itself again, with the same packages."""
    path = there.write("web.yaml", service("web", "10.96.0.1"))
    done = there.once("--manifests", str(path), "--once", "--proxy-mode=ipvs")
    assert done.returncode == 0, done.stderr
    assert "done: mode ipvs, IPv4 and IPv6, 1 services" in done.stderr
    assert faults(done.stderr) == ONCE_EACH
    assert "Traceback" not in done.stderr


def test_modes_are_switched_beside_them(there: Place, service: Service) -> None:
    path = there.write("web.yaml", service("web", "10.96.0.1"))
    for mode in ("iptables", "nftables", "iptables"):
        done = there.once("--manifests", str(path), "--once", f"--proxy-mode={mode}")
        assert done.returncode == 0, done.stderr
        assert faults(done.stderr) == ONCE_EACH
        tables = there.tool("nft", "list", "tables")
        assert ("KUBE-SVC-" in there.rules()) == (mode == "iptables")
        assert ("kube-proxy" in tables) == (mode == "nftables")


def test_demo_beside_them(crowded: Environment) -> None:
    """A lab asks no other mode for leftovers, so it does not notice a broken `read`."""
    done = crowded.run("kproxy", "demo", "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["ok"]
    assert len(values["findings"]) == 23
    assert faults(done.stderr) == ONCE_EACH | {"unreadable": 0}
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["unimportable", "readless"])
def test_a_broken_mode_is_refused(name: str, there: Place, service: Service) -> None:
    path = there.write("web.yaml", service("web", "10.96.0.1"))
    done = there.once("--manifests", str(path), "--once", f"--proxy-mode={name}")
    assert (done.returncode, done.stderr) == (1, f"kproxy: {FAULTS[name]}\n")
    assert "KUBE-" not in there.rules()


ASKED_FOR = ("unsyncable", "blind", "unclean", "unmakeable", "childish", "odd")


@pytest.fixture(scope="module")
def asked_for(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = make(tmp_path_factory.mktemp("environment") / "venv", wheel)
    install(made, ASKED_FOR, tmp_path_factory.mktemp("wheels"))
    return made


@pytest.fixture
def here(asked_for: Environment, place: Place) -> Place:
    place.python = str(asked_for.python)
    place.cwd = place.folder
    place.environment = asked_for.variables
    return place


@pytest.mark.parametrize("name", ["unsyncable", "blind", "odd"])
def test_a_sync_that_fails_is_tried_again(name: str, here: Place, service: Service) -> None:
    """A fault of `intact` counts as damage, so everything is written again."""
    path = here.write("web.yaml", service("web", "10.96.0.1"))
    running = here.start_without_waiting(
        "--manifests", str(path), f"--proxy-mode={name}", "--iptables-min-sync-period=0.1s"
    )
    again = "sync failed (3 in a row)" if name == "unsyncable" else "(repair 2)"
    running.says(again)
    assert running.stop() == 0
    assert FAULTS[name] in running.log
    assert "Traceback" not in running.log


@pytest.mark.parametrize("name", ["unsyncable", "unmakeable", "childish"])
def test_once_fails_with_its_name(name: str, here: Place, service: Service) -> None:
    path = here.write("web.yaml", service("web", "10.96.0.1"))
    done = here.once("--manifests", str(path), "--once", f"--proxy-mode={name}")
    assert done.returncode == 1
    assert FAULTS[name] in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_cleanup_of_one_that_was_not_asked_for(here: Place) -> None:
    """It is named and the others are cleaned up; the status is 1 only if its mode is asked for."""
    left_alone = f"{FAULTS['unclean']}; what it may have left here is left alone"
    done = here.once("--cleanup")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(left_alone) == 1
    done = here.once("--cleanup", "--proxy-mode=unclean")
    assert done.returncode == 1
    assert FAULTS["unclean"] in done.stderr
