"""`bench lab` with Mininet beside, which need not be installed for this."""

from __future__ import annotations

import ast
import json

import pytest
from click.testing import CliRunner
from msgspec import Struct

from kproxy.bench import mininet
from kproxy.bench.results import LabResult, LabSize, MininetResult, MininetSize
from kproxy.cli.bench import bench


def measured(module: str, size: Struct, result: type) -> LabResult | MininetResult:
    assert (module, result) == {
        LabSize: ("kproxy.bench.lab", LabResult),
        MininetSize: ("kproxy.bench.mininet", MininetResult),
    }[type(size)]
    if isinstance(size, LabSize):
        return LabResult(
            size=size, user_mode_linux=False, build_s=1, serve_s=2, down_s=3, floor_s=4
        )
    assert isinstance(size, MininetSize)
    return MininetResult(size=size, user_mode_linux=False, build_s=5, down_s=6)


def shown(monkeypatch: pytest.MonkeyPatch, version: str, *arguments: str) -> tuple[str, str]:
    monkeypatch.setattr("kproxy.bench.mininet.version", lambda: version)
    monkeypatch.setattr("kproxy.kernel.measurement.measure_apart", measured)
    done = CliRunner().invoke(bench, ["lab", "--nodes", "2", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


def test_it_is_measured_after_each_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = shown(monkeypatch, "2.3.0", "--pods", "6", "--pods", "100")
    _, *rows = (line.split() for line in out.splitlines())
    assert rows == [
        ["routed", "6", "2", "1.00", "2.00", "3.00", "4.00"],
        ["mininet", "2.3.0", "6", "2", "5.00", "-", "6.00", "-"],
        ["routed", "100", "2", "1.00", "2.00", "3.00", "4.00"],
        ["mininet", "2.3.0", "100", "2", "5.00", "-", "6.00", "-"],
    ]
    assert err == ""


def test_without_it_the_table_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = shown(monkeypatch, "", "--pods", "6")
    assert [line.split()[0] for line in out.splitlines()] == ["network", "routed", "mininet"]
    assert out.splitlines()[-1] == mininet.NOT_INSTALLED
    assert err == ""


@pytest.mark.parametrize(("version", "kinds"), [("", ["lab"]), ("2.3.0", ["lab", "mininet"])])
def test_json_is_json_with_it_or_without(
    monkeypatch: pytest.MonkeyPatch, version: str, kinds: list[str]
) -> None:
    out, err = shown(monkeypatch, version, "--pods", "6", "--json")
    assert [json.loads(line)["measured"] for line in out.splitlines()] == kinds
    assert err.strip() == ("" if version else mininet.NOT_INSTALLED)


def test_a_python_without_it_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mininet, "_PYTHON", "/bin/false")
    assert mininet.version() == ""
    monkeypatch.setattr(mininet, "_PYTHON", "/no/such/python3")
    assert mininet.version() == ""


def test_the_program_is_python() -> None:
    tree = ast.parse(mininet._PROGRAM)
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    assert classes == ["Bridge", "Tree"]
