"""`kproxy explain` and `kproxy compare` as commands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from kproxy.cli import main

CASE = Path(__file__).parents[2] / "netns_tests/conformance/cases/loadbalancer-source-ranges"
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
EXPLAIN = (
    "explain",
    f"--config={CASE / 'config.yaml'}",
    f"--manifests={CASE / 'objects.yaml'}",
    "--node=node-0",
)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def shown_in_explain_md() -> Iterator[tuple[list[str], list[str]]]:
    """Yield the words of each command of docs/explain.md, with the lines that are shown below."""
    for block in re.findall(r"(?:^ {4}.*\n|^\n)+", (ROOT / "docs/explain.md").read_text(), re.M):
        for part in dedent(block).split("\n$ kproxy ")[1:]:
            command, *lines = part.rstrip("\n").split("\n")
            yield command.split(), [each for each in lines if each != "..."]


@pytest.mark.parametrize(("words", "lines"), [*shown_in_explain_md()])
def test_the_document_shows_what_is_printed(
    words: list[str],
    lines: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "92")
    monkeypatch.chdir(ROOT)
    assert run(*words) == 0
    printed = iter([each.rstrip() for each in capsys.readouterr().out.splitlines()])
    assert lines
    for line in lines:
        assert line in printed  # in this order


def squeezed(text: str) -> str:
    """Return a message without white space: words as long as a path are broken at the width."""
    return "".join(text.split())


def test_json_has_exactly_the_keys_that_are_documented(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*EXPLAIN, "--from=203.0.113.9", "--to=203.0.113.10:80/TCP", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert {*answer} == {"verdict", "endpoints", "masquerade", "reason"}
    assert answer["verdict"] == "forward"
    assert answer["endpoints"] == ["10.244.0.5:8080", "10.244.1.5:8080"]
    assert answer["masquerade"] is True
    assert len(answer["reason"]) == 2


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_text_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(*EXPLAIN, "--from=external", "--to=203.0.113.10:80/TCP") == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= width
    assert "drop: the packet is gone" in text
    assert "loadBalancerSourceRanges" in text


@pytest.mark.parametrize(
    ("mode", "how"), [("iptables", "ICMP port unreachable"), ("userspace", "a reset")]
)
def test_how_a_mode_refuses(capsys: pytest.CaptureFixture[str], mode: str, how: str) -> None:
    """As packets show it: netns_tests/trace/test_demo_rows.py."""
    closed = ("--node=node-a", "--from=external", "--to=10.96.0.60:80/TCP", f"--mode={mode}")
    assert run("explain", f"--manifests={EXAMPLES}", *closed) == 0
    told = capsys.readouterr().out
    assert f"reject: the client is told that nobody is there ({how})" in " ".join(told.split())


REFUSED = [  # arguments -> part of the message
    (("--from=node", "--to=web:80"), "--to: 'web' is not an IP address"),
    (("--from=nobody", "--to=10.96.0.10:80"), "--from: no Node or Pod 'nobody'"),
    (("--from=node", "--to=10.96.0.10:80", "--node-ip=x"), "--node-ip: 'x' is not an IP address"),
    (("--from=node", "--to=10.96.0.10:80", "--lab=x"), "--manifests and --lab: give one of"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_bad_input_says_what_and_where(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert run(*EXPLAIN, *arguments) == 2
    assert message in capsys.readouterr().err


def test_objects_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", "--node=a", "--from=node", "--to=10.96.0.10:80") == 2
    assert "no objects: give one of --manifests, --kubeconfig, --lab" in capsys.readouterr().err


def compared(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    status = run("compare", str(CASE / "objects.yaml"), *arguments)
    assert status == 0
    return capsys.readouterr().out


def test_modes_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    modes = ("--mode=iptables", "--mode=nftables")
    found = json.loads(compared(capsys, *modes, "--emulate=1.36", "--json"))
    assert (found["version"], found["modes"]) == ("1.36", ["iptables", "nftables"])
    assert found["differing"] == sum(row["differs"] for row in found["rows"]) > 0
    clients = {row["client"] for row in found["rows"]}
    nodes = ("a pod on node-0", "a process on node-0", "a pod on node-2", "a process on node-2")
    assert clients.issuperset({*nodes, "a client outside"})
    (row,) = (
        row
        for row in found["rows"]
        if (row["client"], row["asks"]) == ("a process on node-0", "node port on 127.0.0.1")
    )
    answers = {mode: answer["outcome"] for mode, answer in row["answers"].items()}
    assert answers == {"iptables": "delivered", "nftables": "refused"}


def test_the_version_is_that_of_the_configuration(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    kind = "apiVersion: kubeproxy.config.k8s.io/v1alpha1, kind: KubeProxyConfiguration"
    config.write_text(f'{{{kind}, emulate: "1.36"}}')
    assert json.loads(compared(capsys, f"--config={config}", "--json"))["version"] == "1.36"
    chosen = compared(capsys, f"--config={config}", "--emulate=1.37", "--json")
    assert json.loads(chosen)["version"] == "1.37"


def test_the_json_of_a_comparison_is_as_documented(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs/explain.md").read_text().partition("## compare")[2]
    _, _, sentences = page.partition("\n`--json` prints")
    found = json.loads(compared(capsys, "--json"))
    row = found["rows"][0]
    keys = {*found, *row, *row["answers"]["iptables"]}
    assert set(re.findall(r'"(\w+)"', sentences)) == keys
    outcomes = {each["outcome"] for one in found["rows"] for each in one["answers"].values()}
    assert outcomes <= set(re.findall(r"\w+", sentences))


def test_a_second_node_is_asked_also_if_all_have_endpoints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    case = CASE.parent / "clusterip" / "objects.yaml"
    assert run("compare", str(case), "--mode=iptables", "--mode=ipvs", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    pods = {row["client"] for row in rows if row["client"].startswith("a pod on")}
    assert len(pods) == 2


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_comparison_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = compared(capsys, "--mode=iptables", "--mode=ipvs", "--mode=nftables")
    assert max(map(len, text.splitlines())) <= width
    assert "answers differ, as kube-proxy 1.37" in " ".join(text.split())
    assert "  1 " in text


def test_one_mode_cannot_be_compared(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("compare", str(CASE / "objects.yaml"), "--mode=ipvs", "--mode=ipvs") == 2
    assert "at least two modes" in capsys.readouterr().err


def test_a_service_without_an_address_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    written = tmp_path / "written.yaml"
    written.write_text(
        "{apiVersion: v1, kind: Service, metadata: {name: new}, spec: {ports: [{port: 80}]}}"
    )
    assert run("compare", str(written)) == 2
    assert "Service default/new: it has no cluster IP" in capsys.readouterr().err
    assert run("compare", str(CASE / "objects.yaml"), str(written), "--json") == 0
    (left_out,) = json.loads(capsys.readouterr().out)["left_out"]
    assert left_out.startswith("Service default/new: it has no cluster IP")


@pytest.mark.parametrize(
    "command",
    [
        ("explain", "--node=a", "--from=node", "--to=10.96.0.10:80", "--manifests"),
        ("render", "--node=a", "--manifests"),
        ("rules", "svc/web", "--manifests"),
        ("compare",),
        ("doctor", "--manifests"),
    ],
    ids=lambda command: command[0],
)
def test_nothing_to_read_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    """An answer about no object would be taken for one about the objects that were meant."""
    (tmp_path / "empty.yaml").write_text("---\n")
    (tmp_path / "folder").mkdir()
    assert run(*command, str(tmp_path / "empty.yaml")) == 2
    assert squeezed("empty.yaml: there is no object") in squeezed(capsys.readouterr().err)
    assert run(*command, str(tmp_path / "folder")) == 2
    told = capsys.readouterr()
    assert squeezed(f"{tmp_path / 'folder'}: no ") in squeezed(told.err)
    assert squeezed(" in this folder") in squeezed(told.err)
    assert told.out == ""


@pytest.mark.parametrize(
    "command", [EXPLAIN[:-1], ("render", EXPLAIN[2])], ids=lambda each: each[0]
)
def test_a_node_that_is_not_there_is_told(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    question = ("--from=external", "--to=203.0.113.10:80") if command[0] == "explain" else ()
    assert run(*command, "--node=node-9", *question) == 2
    assert "there is no Node node-9; there are: node-0, " in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ("explain", "--from=external", "--to=203.0.113.10:80", "--node=node-0", "--manifests"),
        ("compare", "--mode=iptables", "--mode=nftables"),
        ("render", "--node=node-0", "--manifests"),
    ],
    ids=lambda command: command[0],
)
def test_what_a_configuration_says_in_vain_is_told_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: tuple[str, ...]
) -> None:
    config = tmp_path / "proxy.yaml"
    config.write_text(f"{(CASE / 'config.yaml').read_text()}\nmasqueradeAll: true\n")
    assert run(*command, str(CASE / "objects.yaml"), f"--config={config}") == 0
    assert capsys.readouterr().err.count("masqueradeAll: unknown field, ignored") == 1


def test_a_file_that_is_all_wrong_is_told_on_some_screens(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("---\nkind: Service\n" * 250)
    status = run("explain", f"--manifests={wrong}", "--from=pod", "--to=10.96.0.10:80", "--node=a")
    told = capsys.readouterr().err
    assert status == 2
    assert told.startswith("kproxy: 250 problems, nothing was changed:\n")
    assert told.endswith("\n  ... and 150 more\n")
    assert squeezed(told).count("wrong.yaml:") == 100
