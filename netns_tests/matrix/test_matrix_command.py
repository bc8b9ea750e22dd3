"""`kproxy matrix` as its user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

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
    assert done.stderr.splitlines()[0] == "measuring: vpc-iptables ..."
    assert "<table>" in page.read_text()
    ElementTree.parse(picture)


def test_json_has_every_cell_and_its_reason() -> None:
    done = matrix(*SMALL, "--mode", "nftables", "--network", "tunnel", "--json")
    assert done.returncode == 0, done.stderr
    (measured,) = json.loads(done.stdout)
    assert (measured["mode"], measured["network"], len(measured["cells"])) == (
        "nftables",
        "tunnel",
        22,
    )
    for cell in measured["cells"]:
        assert cell["reason"]
        assert (cell["source"] != "") == (cell["outcome"] == "success")


def test_what_a_profile_changes() -> None:
    done = matrix(*SMALL, "--profile", "cce", "--compare", "upstream", "--markdown")
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| nodeport")]
    assert rows == ["| nodeport | container-other | own-node-private | **timeout 1** | pod |"]


WRONG = [
    (("--seed", "--mode", "ipvs"), "--seed: the documents say what is measured"),
    (("--seed", "--profile", "cce"), "--seed: the documents say what is measured"),
    (("--json", "--markdown"), "--json, --markdown: only one of them can be standard output"),
    (("--network", "routed"), "Invalid value for '--network'"),
    (("--html", "/nowhere/at/all.html", *SMALL), "/nowhere/at/all.html: No such file"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_arguments(arguments: tuple[str, ...], message: str) -> None:
    done = matrix(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
