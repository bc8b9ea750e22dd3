"""`kproxy matrix` on its command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from xml.etree import ElementTree

import pytest

from tests.report.pages import Page
from tests.warm_kproxy import run_kproxy

_T = TypeVar("_T")

PATIENCE_S = 90.0  # only a failing test waits that long

SMALL = ("--service", "nodeport", "--protocol", "TCP")


def matrix(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kproxy", "matrix", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_table_of_80_columns_and_two_files(tmp_path: Path) -> None:
    page, picture = tmp_path / "m.html", tmp_path / "m.svg"
    done = matrix(*SMALL, "--profile", "cce", "--html", str(page), "--svg", str(picture))
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "default/web:tcp has no local endpoints" in " ".join(done.stdout.split())
    assert done.stderr.splitlines()[0] == "measuring: tunnel-iptables ..."
    assert Page(page.read_text()).has("default/web:tcp has no local endpoints")
    shown = " ".join(each.text or "" for each in ElementTree.parse(picture).iter())
    assert "default/web:tcp has no local endpoints" in shown


@pytest.mark.parametrize("width", ["60", "80", "200"])
def test_pods_that_meet_past_the_proxy(
    monkeypatch: pytest.MonkeyPatch, width: str, tmp_path: Path
) -> None:
    """The networks where they do say why, and only those."""
    monkeypatch.setenv("COLUMNS", width)
    picture = tmp_path / "m.svg"
    networks = ("--network", "vpc", "--network", "eni", "--network", "tunnel")
    clusterip = ("--service", "clusterip", "--protocol", "TCP")
    done = matrix(*clusterip, *networks, "--svg", str(picture))
    assert done.returncode == 0, done.stderr
    assert max(map(len, (done.stdout + done.stderr).splitlines())) <= int(width)
    said = " ".join(done.stdout.split())
    assert said.count("vpc: pods of one node meet on its bridge, past the proxy") == 1
    assert said.count("eni: pods meet on ports of the VPC") == 1
    shown = " ".join(each.text or "" for each in ElementTree.parse(picture).iter())
    for network in ("vpc", "eni", "tunnel"):
        assert f"{network}, iptables mode" in shown


def test_json_has_every_cell_and_its_reason(tmp_path: Path) -> None:
    page = tmp_path / "m.html"
    small = (*SMALL, "--family", "IPv6", f"--html={page}")
    done = matrix(*small, "--mode", "nftables", "--network", "tunnel", "--json")
    assert done.returncode == 0, done.stderr
    (measured,) = json.loads(done.stdout)
    assert (measured["mode"], measured["network"], len(measured["cells"])) == (
        "nftables",
        "tunnel",
        22,
    )
    for cell in measured["cells"]:
        assert cell["reason"]
        assert re.fullmatch(r"\[[0-9a-f:]+\]:30080", cell["asked"])
        assert (cell["source"] != "") == (cell["outcome"] == "success")
    found = Page(page.read_text())
    (rows,), (tones,) = found.tables.values(), found.tones.values()
    shown = {
        (tone, text)
        for row, own in zip(rows[1:], tones[1:], strict=True)
        for text, tone in zip(row[1:], own[1:], strict=True)
        if text
    }
    assert sum(text != "" for row in rows[1:] for text in row[1:]) == 22
    for cell in measured["cells"]:
        good = cell["outcome"] == "success"
        wanted = cell["source_is"] if good else cell["outcome"]
        assert any(
            tone == ("good" if good else "bad") and text.startswith(wanted) for tone, text in shown
        )
        assert good or found.has(cell["reason"])


def test_what_a_profile_changes() -> None:
    done = matrix(*SMALL, "--profile", "cce", "--compare", "upstream", "--markdown")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| nodeport")]
    assert rows == ["| nodeport | container-other | own-node-private | **timeout 1** | pod |"]


WRONG = [
    (("--seed", "--mode", "ipvs"), "--seed measures what the documents say"),
    (("--seed", "--profile", "cce"), "--seed measures what the documents say"),
    (("--seed", "--family", "IPv6"), "--seed measures what the documents say"),
    (("--seed", "--no-ipvs-local-fallback"), "--seed measures what the documents say"),
    (("--json", "--markdown"), "--json, --markdown: only one of them can be given"),
    (("--network", "routed"), "Invalid value for '--network'"),
    (
        ("--html", "/nowhere/at/all.html", *SMALL),
        "/nowhere/at/all.html: there is no folder /nowhere/at",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_arguments(arguments: tuple[str, ...], message: str) -> None:
    done = run_kproxy(["matrix", *arguments], env=os.environ)
    assert done.returncode == 2
    assert message in done.stderr
    assert "measuring" not in done.stderr


def test_a_measurement_elsewhere_ends_with_the_one_who_waits_for_it() -> None:
    """It ends also if the command is killed."""
    code = (
        "from msgspec import Struct\n"
        "from kproxy.kernel.measurement import measure_apart\n"
        "class Nothing(Struct): pass\n"
        "measure_apart('netns_tests.matrix.endless', Nothing(), Nothing)"
    )
    waiting = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        child = _await(lambda: _children(waiting.pid))[0]
        _await(lambda: "endless" in Path(f"/proc/{child}/cmdline").read_text())
    finally:
        waiting.kill()
        waiting.wait()
    _await(lambda: not Path(f"/proc/{child}").exists())


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _await(condition: Callable[[], _T]) -> _T:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found
