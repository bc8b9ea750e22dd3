"""The backend of examples/backend as its author uses it: installed, checked, tested, run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from netns_tests.installed.environment import ROOT, Environment
from netns_tests.run.running import Place


@pytest.fixture(scope="module")
def project(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the example's folder, after its package was installed."""
    folder = tmp_path_factory.mktemp("sources") / "backend"
    shutil.copytree(ROOT / "examples" / "backend", folder)
    environment.install(folder)
    return folder


def test_it_is_typed(environment: Environment, project: Path) -> None:
    """The package is marked as typed, so an author's strict mypy sees its types."""
    wrong = project / "wrong.py"
    wrong.write_text("from kproxy.backend import Support\nSupport(ok='yes')\n")
    done = environment.run("mypy", "--strict", "kproxy_minimal.py", "test_minimal.py", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    done = environment.run("mypy", "--strict", "wrong.py", cwd=project)
    assert 'Argument "ok" to "Support" has incompatible type "str"' in done.stdout


def test_run_once_and_cleanup(
    environment: Environment, project: Path, place: Place, service: Callable[..., str]
) -> None:
    place.python, place.cwd = str(environment.python), project.parent
    place.environment = environment.variables
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    done = place.once("--manifests", str(path), "--once", "--proxy-mode=minimal")
    assert done.returncode == 0, done.stderr
    listing = place.tool("nft", "list", "table", "ip", "minimal")
    assert "ip daddr 10.96.0.1 tcp dport 80 dnat ip to" in listing
    done = place.once("--cleanup")
    assert done.returncode == 0, done.stderr
    assert place.tool("nft", "list", "tables") == ""


def test_another_mode_removes_it(
    environment: Environment, project: Path, place: Place, service: Callable[..., str]
) -> None:
    place.python, place.cwd = str(environment.python), project.parent
    place.environment = environment.variables
    path = place.write("web.yaml", service("web", "10.96.0.1"))
    for mode in ("minimal", "nftables"):
        done = place.once("--manifests", str(path), "--once", f"--proxy-mode={mode}")
        assert done.returncode == 0, done.stderr
    assert "minimal" not in place.tool("nft", "list", "tables")


WORKS = [  # client, destination -> pods that may answer
    ("shell-c", "10.96.0.10:80", {"web-a", "web-b", "web-c"}),
    ("node-a", "10.96.0.10:80", {"web-a", "web-b", "web-c"}),
    ("shell-c", "10.96.0.10:7/UDP", {"web-a", "web-b", "web-c"}),
    ("shell-c", "[fd00:10:96::10]:80", {"web-a", "web-b", "web-c"}),
    ("shop-a", "10.96.0.30:80", {"shop-a"}),  # itself, traffic policy Local
    ("outside", "203.0.113.10:443", {"web-a", "web-b", "web-c"}),
]


def test_demo_shows_what_it_forwards_and_judges_nothing(
    environment: Environment, project: Path
) -> None:
    done = environment.run("kproxy", "demo", "--mode", "minimal", "--json", cwd=project)
    assert done.returncode == 0, done.stderr
    findings = json.loads(done.stdout)["findings"]
    assert {finding["ok"] for finding in findings} == {None}
    answers = {(each["client"], each["asked"]): each["answered"] for each in findings}
    for client, asked, pods in WORKS:
        assert answers[client, asked] in pods
    assert "23 seen and not judged: minimal mode has no oracle" in done.stderr
