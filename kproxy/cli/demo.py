"""`kproxy demo`: the examples, on a cluster of namespaces, proven with packets."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from kproxy.backend import (
    DEFAULT_MODE,
    report_faults,
)
from kproxy.cli import kernel as kernel_choice
from kproxy.cli import object_source
from kproxy.cli import proxy_command as other_proxy
from kproxy.cli.emulate import emulate_option
from kproxy.cli.interrupts import removing_the_lab
from kproxy.cli.keeping import keep
from kproxy.cli.mode_choice import ModeChoice
from kproxy.cli.mode_options import mode_options, take
from kproxy.cli.paper import of_lab
from kproxy.cli.progress import say
from kproxy.cli.warnings import say_warnings
from kproxy.report.width import fitting
from kproxy.tour import catalog
from kproxy.tour.catalog import Example
from kproxy.versions import Version


@click.command()
@click.option(
    "--mode",
    type=ModeChoice(),
    help=f"The proxy mode. Default: that of --config, or {DEFAULT_MODE}.",
)
@kernel_choice.option
@click.option(
    "--example",
    metavar="NAME",
    help="Show only this example, a kind of Service, or a manifest of yours (its path).",
)
@click.option("--list-examples", is_flag=True, help="List the examples, then exit.")
@click.option("--keep", "stays", is_flag=True, help="Keep the lab up until Ctrl-C, to look inside.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
@click.option(
    "--config",
    metavar="FILE",
    default="",
    help="A KubeProxyConfiguration for all nodes; --mode replaces its mode.",
)
@emulate_option
@mode_options
@other_proxy.option
@object_source.option
def demo(
    mode: str,
    config: str,
    emulate: Version | None,
    kernel: str,
    example: str | None,
    list_examples: bool,
    stays: bool,
    as_json: bool,
    proxy_command: str | None,
    source: str,
    **parameters: Any,
) -> None:
    """Build a cluster of namespaces and show which Services can be reached.

    The cluster has three nodes, six pods and a client outside, and the Services of examples/ as
    real rules. Real packets are sent, and their outcomes compared with the prediction. Needs root;
    the machine's own network is not touched, and nothing is left behind.

    With --example, one manifest of examples/services/ is applied, as with kubectl, to a cluster
    whose control plane runs its Deployments. Shown are the objects, the addresses that its names
    resolve to, who reaches it, and why.

    \b
    Examples:
      kproxy demo
      kproxy demo --mode ipvs
      kproxy demo --mode nftables --nftables-layout flat
      kproxy demo --mode nftables --emulate 1.36
      kproxy demo --mode nftables --config kube-proxy.yaml
      kproxy demo --keep
      kproxy demo --json > demo.json
      kproxy demo --list-examples
      kproxy demo --example node-port
      kproxy demo --example my-services.yaml --mode nftables
      kproxy demo --example node-port --source api
      kproxy demo --proxy-command 'kproxy run --config {config}'

    \b
    Exit status:
      0  everything was as expected
      1  something was not (it is named), or the lab cannot run here
      130  ended by Ctrl-C before that (128 and the number of the signal)
    """
    if list_examples:
        click.echo(fitting(_names(), sys.stdout))
        return
    wanted = _find(example) if example is not None else None
    report_faults()
    paper = of_lab(config, mode, emulate, take(parameters))
    others = other_proxy.others(proxy_command)
    objects = object_source.of_lab(source, proxy_command)
    if kernel_choice.is_needed(kernel, paper.mode):
        kernel_choice.rerun(kernel)
    say_warnings(of_objects=False)
    with removing_the_lab():
        choices = {
            "config": paper.config,
            "options": paper.options,
            "others": others,
            "source": objects,
        }
        ok = _show(wanted, paper.mode.name, emulate, choices, stays=stays, as_json=as_json)
    say("the lab is gone")
    if not ok:
        raise click.exceptions.Exit(1)


def _show(
    example: Example | None,
    mode: str,
    emulate: Version | None,
    choices: Mapping[str, Any],
    *,
    stays: bool,
    as_json: bool,
) -> bool:
    """Build the lab, run the tour and print what is seen; tell whether it was as expected.

    With `example` None the tour has all examples at once. `choices`: arguments of `Lab`.
    Raises BadInput, and what a lab raises.
    """
    started = time.monotonic()
    # Imports scapy and rich, a quarter of a second each.
    from kproxy.lab import Lab, load_spec
    from kproxy.lab.examples import examples
    from kproxy.lab.left_out import in_short
    from kproxy.tour import objects, report, tours
    from kproxy.tour.part import Shown

    folder = examples()
    tour = tours.of_manifest(folder, example) if example else tours.of_all(folder)
    spec = replace(load_spec(tour.lab), emulate=emulate)
    say("building the lab ...")
    if example and not as_json:
        report.print_head(example)
    lab_started = time.monotonic()
    with Lab(spec, mode, publish=stays, **choices) as lab:
        lab_up_s = time.monotonic() - lab_started
        say(f"lab up in {lab_up_s:.2f} s, applying {tour.applied} ...")
        parts = []
        for part in tour.parts(lab):
            parts.append(part)
            say(f"[{time.monotonic() - started:.1f} s] {part.title}")
            if not as_json:
                report.print_part(part, objects.owners(lab), tour.widths)
        total_s = time.monotonic() - started
        shown = Shown(
            mode=mode,
            parts=parts,
            lab_up_s=lab_up_s,
            total_s=total_s,
            left_out=in_short(lab.left_out),
        )
        if as_json:
            click.echo(json.dumps(tour.values(shown), indent=2))
        say("")
        for line in report.summary(shown):
            say(line)
        if stays:
            keep(lab, "node-a", tour.ask)
    return shown.ok


def _names() -> str:
    """Return all examples, a line each."""
    return "\n".join(catalog.listing(catalog.known(_folder())))


def _find(wanted: str) -> Example:
    """Return an example by name, or a manifest by its path.

    Raises click.BadParameter, with all names.
    """
    found = catalog.find(_folder(), wanted)
    if found is None:
        raise click.BadParameter(
            f"{wanted!r} is neither a manifest nor one of the examples:\n{_names()}",
            param_hint="--example",
        )
    return found


def _folder() -> Path:
    from kproxy.lab.examples import examples  # imports the lab, which `--help` does without

    return examples() / catalog.FOLDER
