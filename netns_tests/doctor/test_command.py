"""`kproxy doctor` as a command: of a lab, of its API, of this machine, of manifests."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from kproxy.doctor.report import diagnosis_of
from netns_tests.doctor.page import check_example
from netns_tests.up.machine import KPROXY, Machine
from tests.report.pages import Page

BROKEN = """
apiVersion: v1
kind: Service
metadata: {name: broken, namespace: NAMESPACE}
spec: {selector: {app: nothing}, ports: [{port: 80}]}
"""
UNSCHEDULED = """
---
apiVersion: v1
kind: Pod
metadata: {name: nowhere, labels: {app: nothing}}
spec: {nodeSelector: {disk: ssd}, containers: [{name: web, image: web}]}
"""
UID = "65534"
RENAMED = 'hostname elsewhere && exec "$@"'


def doctor(machine: Machine, *arguments: str) -> tuple[int, list[str], dict[str, Any]]:
    """Return the exit status, the ids of the findings and the whole document.

    The page has the same.
    """
    with TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        done = machine.kproxy("doctor", *arguments, "--json", "--html", str(page))
        document = json.loads(done.stdout)
        shown = Page(page.read_text())
    seen = [*document["findings"], *document["symptoms"]]
    rows = [row for rows in shown.tables.values() for row in rows[1:]]
    assert [row[:2] for row in rows] == [[each["id"], each["severity"]] for each in seen]
    for row, each in zip(rows, seen, strict=True):
        assert row[3] == "\n".join(each["evidence"]).strip()
    return done.returncode, [each["id"] for each in document["findings"]], document


@pytest.fixture(scope="module")
def kubeconfig(machine: Machine) -> str:
    """Start a lab and return its kubeconfig."""
    found: str = json.loads(machine.ok("up", "--nodes", "2", "--json"))["kubeconfig"]
    return found


@pytest.fixture
def text(machine: Machine, kubeconfig: str) -> dict[str, Any]:
    done = machine.run("cat", kubeconfig)
    found: dict[str, Any] = yaml.safe_load(done.stdout)
    return found


def test_a_healthy_lab(machine: Machine, kubeconfig: str) -> None:
    status, found, document = doctor(machine)
    assert (status, found) == (0, [])
    assert "foreign-rule" in document["checks"]
    assert "nothing found; " in machine.ok("doctor", "--lab", "lab")
    assert (*doctor(machine, "--kubeconfig", kubeconfig)[:2],) == (0, [])


def test_findings_of_a_lab(machine: Machine, kubeconfig: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(BROKEN.replace("NAMESPACE", "default"))
    machine.ok("apply", "-f", str(file))
    assert (*doctor(machine)[:2],) == (1, ["selector-matches-nothing"])
    assert (*doctor(machine, "svc/broken")[:2],) == (1, ["selector-matches-nothing"])
    assert (*doctor(machine, "svc/broken.default")[:2],) == (1, ["selector-matches-nothing"])
    assert (*doctor(machine, "svc/kubernetes")[:2],) == (0, [])
    assert (*doctor(machine, "-n", "kube-system")[:2],) == (0, [])
    same = doctor(machine, "--kubeconfig", kubeconfig)
    assert (*same[:2],) == (1, ["selector-matches-nothing"])
    said = machine.kproxy("doctor", columns=60)
    assert said.returncode == 1
    assert max(map(len, said.stdout.splitlines())) <= 60
    for wrong in ("svc/other", "pod/broken", "svc/broken:80"):
        assert machine.kproxy("doctor", wrong).returncode == 2
    machine.ok("delete", "-f", str(file))


def test_events_are_evidence(machine: Machine, kubeconfig: str, tmp_path: Path) -> None:
    file = tmp_path / "unscheduled.yaml"
    file.write_text(BROKEN.replace("NAMESPACE", "default") + UNSCHEDULED)
    machine.ok("apply", "-f", str(file))
    for source in ((), ("--kubeconfig", kubeconfig)):
        status, found, document = doctor(machine, *source)
        assert (status, found) == (1, ["pods-not-ready"])
        assert "2 node(s)" in document["findings"][0]["evidence"][1]
    machine.ok("delete", "-f", str(file))


@pytest.mark.usefixtures("kubeconfig")
def test_a_rule_on_a_node(machine: Machine) -> None:
    shell = ("shell", "node-a", "--", "iptables-nft")
    machine.ok(*shell, "-A", "FORWARD", "-d", "192.0.2.1", "-j", "DROP")
    status, found, document = doctor(machine)
    assert (status, found) == (1, ["foreign-rule"])
    assert document["findings"][0]["host"] == "node-a"
    machine.ok(*shell, "-D", "FORWARD", "-d", "192.0.2.1", "-j", "DROP")
    assert doctor(machine)[0] == 0


def test_an_api_server_that_refuses(machine: Machine, text: dict[str, Any], tmp_path: Path) -> None:
    (user,) = text["users"]
    user["user"] = {"token": "wrong"}
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(text))
    status, found, document = doctor(machine, "--kubeconfig", str(file))
    assert (status, found) == (1, ["api-server"])
    assert "no-endpoints" not in document["checks"]


def test_an_api_server_that_is_away(machine: Machine, text: dict[str, Any], tmp_path: Path) -> None:
    (cluster,) = text["clusters"]
    cluster["cluster"]["server"] = "https://127.0.0.1:9"
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(text))
    status, found, document = doctor(machine, "--kubeconfig", str(file))
    assert (status, found) == (1, ["api-server"])
    assert "connection refused" in document["findings"][0]["evidence"][0]
    check_example(diagnosis_of(document))


@pytest.mark.parametrize("renamed", [(), ("unshare", "--uts", "sh", "-c", RENAMED, "-")], ids=len)
def test_this_machine(machine: Machine, kubeconfig: str, renamed: tuple[str, ...]) -> None:
    """A node of a lab is a machine, too. It knows its Node by its name, or else by an address."""
    inside = f"{kubeconfig}-inside"
    command = (*renamed, *KPROXY, "doctor", "--node", "--kubeconfig", inside, "--json")
    done = machine.kproxy("shell", "node-a", "--", *command)
    document = json.loads(done.stdout)
    assert (done.returncode, document["findings"]) == (0, [])
    assert {"api-server", "node-address", "two-proxies", "foreign-rule"} <= {*document["checks"]}


@pytest.mark.usefixtures("kubeconfig")
def test_what_a_node_tells_without_objects(machine: Machine) -> None:
    """Rules of the proxy that are lost are missed, though nobody says what is wanted."""
    machine.ok("up", "--name", "bare", "--nodes", "1", "--proxy", "none")
    node = ("shell", "--lab", "bare", "node-a", "--")
    examine = (*node, *KPROXY, "doctor", "--node", "--json")
    assert json.loads(machine.kproxy(*examine).stdout)["findings"] == []
    rules = machine.ok("shell", "--lab", "lab", "node-a", "--", "iptables-nft-save", "-t", "nat")
    for lost, found in (("", []), ("-j MASQUERADE", ["hairpin-masquerade"])):
        kept = [each for each in rules.splitlines() if not lost or lost not in each]
        restore = ["sh", "-c", 'printf "%s\\n" "$@" | iptables-nft-restore', "-", *kept]
        machine.ok(*node, *restore)
        document = json.loads(machine.kproxy(*examine).stdout)
        assert [each["id"] for each in document["findings"]] == found
    machine.ok("down", "bare")


@pytest.mark.parametrize("fault", ["token", "certificate", "server"])
def test_secrets_are_not_shown(
    machine: Machine, text: dict[str, Any], tmp_path: Path, fault: str
) -> None:
    """An API server that cannot be asked is a sentence, whatever is wrong with the access."""
    (cluster,), (user,) = text["clusters"], text["users"]
    user["user"] = {"token": "not-to-be-told"}
    if fault == "certificate":
        del cluster["cluster"]["certificate-authority-data"]
    if fault == "server":
        cluster["cluster"]["server"] = "https://nowhere.invalid:6443"
    file, page = tmp_path / "kubeconfig", tmp_path / "page.html"
    file.write_text(yaml.safe_dump(text))
    done = machine.kproxy("doctor", "--kubeconfig", str(file), "--html", str(page))
    assert done.returncode == 1
    assert "api-server" in done.stdout
    assert done.stderr == f"wrote {page}\n"
    assert "not-to-be-told" not in done.stdout + page.read_text()


def test_this_machine_without_root(machine: Machine) -> None:
    done = machine.run("setpriv", "--reuid", UID, *KPROXY, "doctor", "--node", "--json")
    left = {
        each: left["why"] for left in json.loads(done.stdout)["leftOut"] for each in left["checks"]
    }
    assert left["foreign-rule"] == left["two-proxies"] == "this takes root"


@pytest.mark.usefixtures("kubeconfig")
@pytest.mark.parametrize(
    "arguments",
    [
        ("--lab", "none"),
        ("--lab", "lab", "--node"),
        ("--manifests", "none.yaml"),
        ("--manifests", "examples", "--kubeconfig", "none"),
        ("--kubeconfig", "/none"),
        ("web",),
        ("pod/web",),
    ],
)
def test_bad_input(machine: Machine, arguments: tuple[str, ...]) -> None:
    done = machine.kproxy("doctor", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr
