"""The lab that `kproxy up` builds without a file, and the words of a proxy's command."""

from __future__ import annotations

from pathlib import Path

import pytest

from kproxy.errors import BadInput
from kproxy.lab import validation
from kproxy.resident import commands, orders
from kproxy.resident.kubeconfig import kubeconfig_text, read_access
from kproxy.versions import Version


@pytest.mark.parametrize("nodes", [1, 3, 27, 200])
def test_the_lab_without_a_file_is_valid(nodes: int) -> None:
    spec = orders.plain_spec("lab", nodes)
    assert validation.problems(spec) == []
    assert len(spec.nodes) == nodes
    assert [pod.name for pod in spec.nodes[-1].pods] == ["shell"]


def test_names_of_nodes() -> None:
    assert orders.node_names(3) == ["node-a", "node-b", "node-c"]
    assert orders.node_names(28)[25:] == ["node-z", "node-aa", "node-ab"]


def test_what_the_command_line_overrides() -> None:
    plain = orders.plain_spec("lab", 1)
    spec = orders.ordered_spec(plain, name="shop", network="vxlan", emulate=Version.V1_36)
    assert (spec.name, spec.network, spec.emulate) == ("shop", "vxlan", Version.V1_36)
    same = orders.ordered_spec(plain, name="lab", network=None, emulate=None)
    assert same == plain


def test_the_words_of_a_command() -> None:
    words = commands.parse_command("proxy --kubeconfig={kubeconfig} '{node} {node}' {other}")
    assert commands.filled(words, {"kubeconfig": "/k", "node": "node-a"}) == [
        "proxy",
        "--kubeconfig=/k",
        "node-a node-a",
        "{other}",
    ]


@pytest.mark.parametrize("text", ["", "  ", "'", '"a'])
def test_a_command_line_without_words(text: str) -> None:
    with pytest.raises(BadInput):
        commands.parse_command(text)


def test_kproxy_reads_a_kubeconfig_that_it_writes(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig_text("shop", "https://127.0.0.1:6443", b"PEM", "secret"))
    assert read_access(path) == ("https://127.0.0.1:6443", "PEM", "secret")
    path.write_text("{}")
    with pytest.raises(BadInput):
        read_access(path)
