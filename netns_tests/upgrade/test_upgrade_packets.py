"""`kproxy upgrade-check --packets`: a lab of the examples answers as predicted, on each side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kproxy.cli import main
from kproxy.lab import example
from kproxy.upgrade.packets import Request, measure
from tests.report.pages import Page

EXAMPLES = str(example("."))
POLICY = "externalTrafficPolicy"
RECORDED = Path(__file__).parents[1] / "conformance" / "cases"


@pytest.mark.parametrize(
    "side",
    [
        "1.36:iptables",
        "1.37:nftables",
        "1.38-alpha:iptables",
        "1.37:userspace",
        pytest.param("1.36:ipvs", marks=pytest.mark.ipvs),
    ],
)
def test_all_answers_are_as_predicted(side: str) -> None:
    measured = measure(Request(side=side, config="", manifests=(EXAMPLES,)))
    assert measured.problems == {}
    assert len(measured.seen) > 100
    answered = {
        "1.36:iptables": {"its endpoints go": True, "the Service goes": True},
        "1.37:nftables": {"its endpoints go": False, "the Service goes": True},
    }.get(side, {"its endpoints go": False, "the Service goes": False})
    for what, found in measured.lasting.items():
        event = next(each for each in answered if what.endswith(each))
        assert found == answered[event], what
    assert len(measured.lasting) == 4  # UDP of one Service in two families, two events


@pytest.mark.parametrize("policy", ["Cluster", "Local"])
@pytest.mark.parametrize("side", ["1.36:iptables", "1.37:nftables", "1.37:userspace"])
def test_endpoints_on_the_host_network_answer_as_predicted(
    side: str, policy: str, tmp_path: Path
) -> None:
    """With policy Local, pods beside an endpoint reach it by another node, and lose its answer."""
    case = RECORDED / "hostnetwork-endpoint"
    objects = tmp_path / "objects.yaml"
    text = (case / "objects.yaml").read_text()
    objects.write_text(text.replace(f"{POLICY}: Cluster", f"{POLICY}: {policy}"))
    config = str(case / "config.yaml")
    measured = measure(Request(side=side, config=config, manifests=(str(objects),)))
    assert measured.problems == {}
    assert any("sees" in words for seen in measured.seen.values() for words in seen)


def test_what_differs_is_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    sides = ["--from=1.36:iptables", "--to=1.37:nftables"]
    with pytest.raises(SystemExit) as done:
        main(
            ["upgrade-check", *sides, "--manifests", EXAMPLES, "--packets", "--json",
             f"--html={page}"]
        )  # fmt: skip
    assert done.value.code == 0
    found = json.loads(capsys.readouterr().out)["packets"]
    assert found["measured"]
    assert found["not_as_predicted"] == []
    loopback = [each for each in found["differences"] if each["address"].startswith("127.0.0.1:")]
    assert {each["service"] for each in loopback} == {
        "default/api",
        "default/shop",
        "default/shop-local",
    }
    assert {tuple(each["measured"]["to"]) for each in loopback} == {("refused",)}
    for each in found["differences"]:
        for side in ("from", "to"):
            words = {*each["measured"][side]}
            assert words <= {*each[side]["pods"], each[side]["outcome"], "dropped", "refused"}
    assert {each["measured"]["to"] for each in found["lasting"]} == {False}
    shown = Page(page.read_text())
    for each in found["differences"]:
        assert {", ".join(words) for words in each["measured"].values()} <= shown.cells
