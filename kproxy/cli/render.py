"""`kproxy render`: the whole ruleset from manifests, without a kernel."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from kproxy.backend import Mode, ProgramInput
from kproxy.cli.mode_options import take
from kproxy.cli.paper import Wanted, fact_options, facts, families, paper_options, read_objects
from kproxy.errors import BadInput


@click.command()
@click.option(
    "--manifests",
    metavar="PATH",
    multiple=True,
    required=True,
    help="Services, EndpointSlices, Nodes ... as YAML or JSON: a file or a folder. "
    "May be repeated.",
)
@paper_options
@fact_options
@click.option(
    "--only",
    metavar="PROGRAM",
    default="",
    help="Print only what this program reads, such as ipset. With --family, to be piped to it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def render(**parameters: Any) -> None:
    """Print all rules that a node's proxy would load, byte for byte, without loading them.

    It is what the mode's programs read: iptables-restore; nft -f; or ipset restore,
    iptables-restore, ip -batch and ipvsadm --restore. If there are several, a line that begins with
    # names each. Nothing is changed, and neither root nor the programs are needed.

    The node's addresses are those of its Node object. The rules of the nft variant of iptables come
    in the transactions in which kproxy loads them; --iptables-variant legacy has a single one.

    \b
    Examples:
      kproxy render --manifests cluster.yaml --node node-1
      kproxy render --manifests cluster.yaml --node node-1 --mode nftables | sudo nft -f -
      kproxy render --manifests cluster.yaml --node node-1 --mode ipvs \\
          --family 4 --only ipset | sudo ipset restore
      kproxy render --manifests cluster.yaml --emulate 1.36 --json

    \b
    Exit status:
      0  rendered
      1  the mode's package does not work
      2  bad input
    """
    as_json, only = parameters["as_json"], parameters["only"]
    wanted = Wanted(
        options=take(parameters),
        **{name: parameters[name] for name in ("config", "mode", "emulate")},
    )
    from kproxy.garbage import uncollected
    from kproxy.rules.paper import node_on_paper

    with uncollected():
        paper = wanted.paper()
        known = facts(
            parameters["addresses"],
            nfacct=parameters["nfacct"],
            tcp_be_liberal=parameters["tcp_be_liberal"],
        )
        objects = read_objects(parameters["manifests"])
        node = node_on_paper(
            objects, paper, parameters["node"], families(parameters["family"]), known
        )
        mode = paper.mode
        if mode.inputs is None:
            raise BadInput(
                [f"{mode.name} mode has no rules that a program could load"],
                remedy="kproxy rules SERVICE --manifests FILE, which shows what it would do",
            )
        found: list[tuple[str, ProgramInput]] = []
        for family, plan in node.plans.items():
            present = [each for _, each in found]  # what both families need is loaded once
            made = (each for each in mode.inputs(plan, node.facts) if each not in present)
            found += [(family.value, each) for each in made]
        chosen = [(family, each) for family, each in found if not only or only in each.program]
        if not chosen:
            programs = dict.fromkeys(each.program[0] for _, each in found)
            raise BadInput([f"--only: {mode.name} mode has input for {', '.join(programs)}"])
        if as_json:
            click.echo(_json(mode, node.name, chosen))
        else:
            for text in _texts([each for _, each in chosen]):
                click.echo(text, nl=False)


def _texts(inputs: list[ProgramInput]) -> Iterator[str]:
    """Yield all texts: as they are if one program reads them, else under its command line."""
    same = len({each.program for each in inputs}) == 1
    for each in inputs:
        if not same:
            yield f"# {shlex.join(each.program)}\n"
        yield each.text


def _json(mode: Mode, node: str, inputs: list[tuple[str, ProgramInput]]) -> str:
    values = {
        "mode": mode.name,
        "node": node,
        "inputs": [
            {"family": family, "program": each.program, "text": each.text}
            for family, each in inputs
        ],
    }
    return msgspec.json.encode(values).decode()
