"""`kproxy demo`: the examples, on a cluster of namespaces, proven with packets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from kproxy.backend import DEFAULT_MODE, BackendOptions, load, modes, report_faults
from kproxy.cli import kernel as kernel_choice
from kproxy.cli.example import find, names, run_example
from kproxy.cli.examples import examples
from kproxy.cli.keeping import keep
from kproxy.cli.mode_options import mode_options, take

if TYPE_CHECKING:
    from kproxy.lab import Lab
    from kproxy.report.findings import Section


LAB = "lab/demo.yaml"  # in examples/; a folder of its own, for it is no Kubernetes object


@click.command()
@click.option("--mode", type=click.Choice(modes()), default=DEFAULT_MODE, help="The proxy mode.")
@kernel_choice.option
@click.option(
    "--example",
    metavar="NAME",
    help="Play one kind of Service instead, or a manifest of yours (its path).",
)
@click.option("--list-examples", is_flag=True, help="Say which examples there are, and end.")
@click.option(
    "--keep", "stays", is_flag=True, help="Leave the lab up until Ctrl-C, to look inside."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
@mode_options
def demo(
    mode: str,
    kernel: str,
    example: str | None,
    list_examples: bool,
    stays: bool,
    as_json: bool,
    **parameters: Any,
) -> None:
    """Build a cluster of namespaces and show what reaches whom.

    Three nodes, six pods and a client outside; the Services of examples/ as real rules; and
    real packets, whose fate is compared with what it must be. Needs root; the machine's own
    network is not touched, and nothing is left behind.

    With --example: one manifest of examples/services/, as one would give it to kubectl, on a
    cluster whose control plane runs its Deployments: what becomes of it, what its names resolve to,
    who reaches it, and why.

    \b
    Examples:
      kproxy demo
      kproxy demo --mode ipvs
      kproxy demo --mode nftables --nftables-layout flat
      kproxy demo --keep
      kproxy demo --json > demo.json
      kproxy demo --list-examples
      kproxy demo --example node-port
      kproxy demo --example my-services.yaml --mode nftables

    \b
    Exit status:
      0  everything was as it must be
      1  something was not (it is named), or the lab cannot run here
    """
    if list_examples:
        click.echo(names())
        return
    wanted = find(example) if example is not None else None
    report_faults()
    chosen = load(mode)
    options = take(parameters).options(chosen)
    if kernel_choice.is_needed(kernel, chosen):
        kernel_choice.rerun()
    if wanted is not None:
        broken = run_example(wanted, mode, options, stays=stays, as_json=as_json)
    else:
        broken = _all_examples(mode, options, stays=stays, as_json=as_json)
    _say("the lab is gone")
    if broken:
        raise click.exceptions.Exit(1)


def _all_examples(mode: str, options: BackendOptions, *, stays: bool, as_json: bool) -> int:
    """The tour of the manifests in examples/; how many findings were not as expected."""
    from kproxy.lab import Lab, load_spec

    started = time.monotonic()
    folder = examples()
    spec = load_spec(folder / LAB)
    _say("building the lab ...")
    lab_started = time.monotonic()
    with Lab(spec, mode, options=options, publish=stays) as lab:
        lab_up_s = time.monotonic() - lab_started
        _say(f"lab up in {lab_up_s:.2f} s, applying {folder} ...")
        lab.apply(folder)
        sections = _walk(lab)
        total_s = time.monotonic() - started
        if as_json:
            _print_json(mode, sections, lab_up_s, total_s)
        else:
            _print_table(lab, sections)
        broken = _summary(sections, lab_up_s, total_s)
        if stays:
            asking = "bash -c 'exec 3<>/dev/tcp/10.96.0.10/80; echo >&3; cat <&3'"
            keep(lab, "node-a", ("shell-c", asking))
    return broken


def _walk(lab: Lab) -> list[Section]:
    # Imports scapy and rich, a quarter of a second each; the lab is up by now.
    from kproxy.report.findings import Section
    from kproxy.tour.demo import TOUR, walk

    sections = []
    for number, (title, findings) in enumerate(walk(lab), 1):
        _say(f"[{number}/{len(TOUR)}] {title}")
        sections.append(Section(title=title, findings=findings))
    return sections


def _print_table(lab: Lab, sections: list[Section]) -> None:
    from kproxy.report.findings import print_sections

    owners = {
        address: host.name for host in lab.network.hosts.values() for address in host.addresses
    }
    print_sections(sections, name=lambda address: owners.get(address, ""))


def _print_json(mode: str, sections: list[Section], lab_up_s: float, total_s: float) -> None:
    import json

    from kproxy.report.findings import as_values

    values = {
        "mode": mode,
        "ok": all(finding.ok for section in sections for finding in section.findings),
        "lab_up_s": round(lab_up_s, 3),
        "total_s": round(total_s, 3),
        "findings": as_values(sections),
    }
    click.echo(json.dumps(values, indent=2))


def _summary(sections: list[Section], lab_up_s: float, total_s: float) -> int:
    """Say how it went; how many findings were not as expected."""
    findings = [finding for section in sections for finding in section.findings]
    broken = [finding for finding in findings if not finding.ok]
    _say(
        f"\n{len(findings) - len(broken)} of {len(findings)} as expected; "
        f"lab up in {lab_up_s:.2f} s, {total_s:.1f} s in all"
    )
    for finding in broken:
        _say(f"NOT AS EXPECTED: {finding.check}: {finding.client} asks {finding.asked}")
        for problem in finding.problems:
            _say(f"  {problem}")
    return len(broken)


def _say(text: str) -> None:
    """Progress, for people: standard output is for the result."""
    click.echo(text, err=True)
