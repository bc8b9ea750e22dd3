"""Manifests without any Service do not take the Services off a node, unless that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kproxy.address import Family
from kproxy.backend import load
from netns_tests.run.running import Place, Running, until

Text = Callable[..., str]
STAY = "no Service in the manifests: 2 Services stay in force; --allow-empty removes them"
ANOTHER = "apiVersion: v1\nkind: Node\nmetadata: {name: other}\n"


def emptied(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def made_anew(folder: Path) -> None:
    folder.rename(folder.with_name("old"))
    folder.mkdir()


def without_services(folder: Path) -> None:
    (folder / "web.yaml").write_text(ANOTHER)
    (folder / "dns.yaml").write_text("# nothing is here\n---\n")


@pytest.fixture
def folder(place: Place, service: Text, tmp_path: Path) -> Path:
    """Return a folder of two Services, where `place.write` writes from now on."""
    place.folder = tmp_path / "manifests"
    place.folder.mkdir()
    place.write("web.yaml", service("web", "10.96.0.1"))
    place.write("dns.yaml", service("dns", "10.96.0.10"))
    return place.folder


@pytest.mark.parametrize("change", [emptied, made_anew, without_services])
def test_a_folder_that_loses_its_services_keeps_them(
    place: Place, service: Text, folder: Path, change: Callable[[Path], None]
) -> None:
    running = place.start("--manifests", str(folder))
    rules = place.rules()
    change(folder)
    running.says(STAY)
    assert place.rules() == rules
    assert "WARNING no Service" in running.log
    place.write("web.yaml", service("web", "10.96.0.2"))
    until("the new version", lambda: "10.96.0.2" in place.rules())
    assert "10.96.0.10/32" not in place.rules()
    emptied(folder)
    running.says("1 Service stays in force; --allow-empty removes it")
    assert running.stop() == 0
    assert "10.96.0.2" in place.rules()


def test_a_file_that_becomes_empty_keeps_its_services(place: Place, folder: Path) -> None:
    file = folder / "web.yaml"
    running = place.start("--manifests", str(file))
    file.write_text("")
    running.says("empty; to remove its objects, remove the file")
    file.write_text("# nothing\n")
    running.says("1 Service stays in force; --allow-empty removes it")
    assert "10.96.0.1" in place.rules()


MODES = [  # flags, and the mode's name
    ("--proxy-mode=iptables", "iptables"),
    ("--proxy-mode=iptables --iptables-variant=legacy", "iptables"),
    ("--proxy-mode=nftables", "nftables"),
    ("--proxy-mode=nftables --nftables-layout=flat", "nftables"),
    pytest.param("--proxy-mode=ipvs", "ipvs", marks=pytest.mark.ipvs),
]
by_mode = pytest.mark.parametrize(("flags", "mode"), MODES)


def held(place: Place, mode: str, flags: str) -> object:
    """Return what the kernel holds of a mode, of both families."""
    loaded = load(mode)
    options = loaded.options_with(**({"iptables_variant": "legacy"} if "legacy" in flags else {}))
    return [place.namespace.run(loaded.backend(family, options).read) for family in Family]


@by_mode
def test_at_the_start(place: Place, service: Text, folder: Path, flags: str, mode: str) -> None:
    arguments = ("--manifests", str(folder), *flags.split())
    assert place.once(*arguments, "--once").returncode == 0
    before = held(place, mode, flags)
    emptied(folder)
    refused = place.once(*arguments, "--once")
    assert refused.returncode == 2
    assert STAY in refused.stderr
    assert held(place, mode, flags) == before
    running = place.start_without_waiting(*arguments)
    running.says(STAY)
    assert held(place, mode, flags) == before
    place.write("web.yaml", service("web", "10.96.0.2"))
    running.says("ready:")
    assert "10.96.0.2" in str(held(place, mode, flags))
    assert "10.96.0.10" not in str(held(place, mode, flags))
    running.stop()
    emptied(folder)
    removed = place.once(*arguments, "--once", "--allow-empty")
    assert removed.returncode == 0
    assert "10.96.0." not in str(held(place, mode, flags))
    assert place.once(*arguments, "--once").returncode == 0  # there is nothing to lose any more


@pytest.mark.parametrize(("first", "second"), [("iptables", "nftables"), ("nftables", "userspace")])
def test_another_mode_keeps_them_as_well(
    place: Place, folder: Path, first: str, second: str
) -> None:
    arguments = ("--manifests", str(folder))
    assert place.once(*arguments, f"--proxy-mode={first}", "--once").returncode == 0
    before = held(place, first, "")
    emptied(folder)
    running = place.start_without_waiting(*arguments, f"--proxy-mode={second}")
    running.says(STAY)
    assert running.stop() == 0
    assert held(place, first, "") == before


def test_allow_empty_removes_them_while_running(place: Place, folder: Path) -> None:
    running: Running = place.start("--manifests", str(folder), "--allow-empty")
    assert "10.96.0.10" in place.rules()
    emptied(folder)
    until("their removal", lambda: "10.96.0.1" not in place.rules())
    assert "no Service in the manifests" not in running.log
