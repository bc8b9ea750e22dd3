"""`kproxy scenario`: runs documented cases of who reaches a Service from where, with remedies."""

from __future__ import annotations

import difflib
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kproxy.backend import load as load_mode
from kproxy.cli import kernel as kernel_choice
from kproxy.cli import object_source
from kproxy.cli import proxy_command as other_proxy
from kproxy.cli.emulate import emulate_without_config_option
from kproxy.cli.interrupts import removing_the_lab
from kproxy.cli.page_file import html_option, write_page
from kproxy.cli.progress import say
from kproxy.cli.warnings import say_warnings
from kproxy.errors import BadInput
from kproxy.report.width import fitting
from kproxy.versions import Version

if TYPE_CHECKING:
    from kproxy.scenario.files import Scenario


@click.group()
def scenario() -> None:
    """Run documented cases of who reaches a Service from where.

    Vendors publish tables of what fails with externalTrafficPolicy Local, and what to do about it.
    Each row is a folder in examples/scenarios/: a cluster, its manifests, questions, remedies.

    \b
    Examples:
      kproxy scenario list
      kproxy scenario run lb-local-from-same-node
    """


@scenario.command("list")
def list_() -> None:
    """Print the names, each with its title.

    \b
    Examples:
      kproxy scenario list
    """
    from kproxy.scenario.files import load, names

    folder = _folder()
    found = [load(folder / name) for name in names(folder)]
    for each in found:
        click.echo(fitting(f"{each.name}\n    {each.form.title}", sys.stdout))


@scenario.command()
@click.argument("name")
def show(name: str) -> None:
    """Print the questions of scenario NAME, the expected answers and the remedies.

    Nothing is measured.

    \b
    Examples:
      kproxy scenario show nodeport-local-from-same-node
    """
    found = _load(name)
    from kproxy.scenario.report import print_scenario

    print_scenario(found)


def _checked_folder(
    _context: click.Context, _parameter: click.Parameter, path: str | None
) -> str | None:
    """Refuse early what can be no folder."""
    if path is not None and Path(path).exists() and not Path(path).is_dir():
        raise BadInput([f"--svg {path}: this is a file, and the pictures need a folder"])
    return path


@scenario.command()
@click.argument("name")
@click.option("--mode", help="The proxy mode. Default: the first that the scenario lists.")
@click.option("--network", help="The network model. Default: the first that it lists.")
@emulate_without_config_option
@kernel_choice.option
@other_proxy.option
@object_source.option
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
@html_option
@click.option(
    "--svg",
    metavar="FOLDER",
    type=click.Path(),
    callback=_checked_folder,
    help="Write a picture for each question to this folder, which is made if it is not there.",
)
def run(
    name: str,
    mode: str | None,
    network: str | None,
    emulate: Version | None,
    kernel: str,
    proxy_command: str | None,
    source: str,
    as_json: bool,
    html: str | None,
    svg: str | None,
) -> None:
    """Run scenario NAME: send its packets, without a remedy and then with each one.

    NAME is one of `kproxy scenario list`, or the path of such a folder. A lab is built for it and
    removed afterwards. For each question it prints the outcome, the source address that the
    server saw, and where and why the packet ended, as observed by taps and traces. The page of
    --html also has a picture for each question: the way of the probe that explains it, as
    `kproxy trace --svg` draws it. --svg writes these pictures as files. Needs root.

    \b
    Examples:
      kproxy scenario run lb-local-from-same-node
      kproxy scenario run nodeport-local-from-another-node --mode ipvs
      kproxy scenario run lb-local-from-same-node --network tunnel
      kproxy scenario run lb-local-from-same-node --html same-node.html
      kproxy scenario run lb-local-from-same-node --svg pictures
      kproxy scenario run lb-local-from-same-node --source api
      kproxy scenario run ./my-scenario --json

    \b
    Exit status:
      0  everything was as expected
      1  something was not (it is marked), or the lab cannot run here
      2  there is no such scenario, or its files are invalid
    """
    started = time.monotonic()
    found = _load(name)
    mode = _chosen("--mode", mode, found.form.modes)
    network = _chosen("--network", network, found.networks)
    others = other_proxy.others(proxy_command)
    objects = object_source.of_lab(source, proxy_command)
    if kernel_choice.is_needed(kernel, load_mode(mode)):
        kernel_choice.rerun(kernel)
    # Imports scapy and rich, a quarter of a second each.
    from kproxy.scenario.report import as_values, print_run
    from kproxy.scenario.run import ScenarioLab
    from kproxy.scenario.run import run as run_scenario

    say_warnings()
    with removing_the_lab():
        say("building the lab ...")
        ways = html is not None or svg is not None
        with ScenarioLab(found, mode, network, emulate, others, objects, ways=ways) as running:
            result = run_scenario(found, running, tell=say)
    say(f"the lab is gone; {time.monotonic() - started:.1f} s in all")
    if as_json:
        click.echo(json.dumps(as_values(result), indent=2))
    else:
        print_run(result)
    if html:
        from kproxy.scenario.page import page_of

        write_page(html, page_of(result))
    if svg:
        from kproxy.scenario.pictures import pictures_of

        _write_pictures(svg, dict(pictures_of(result)))
    if result.as_expected != result.expected:
        raise click.exceptions.Exit(1)


def _write_pictures(path: str, pictures: Mapping[str, str]) -> None:
    """Write files to a folder, and say so. Raises BadInput."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pictures.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput([f"--svg {path}: {error.strerror}"]) from None
    say(f"wrote {path}: {len(pictures)} pictures")


def _folder() -> Path:
    from kproxy.lab.examples import examples  # imports the lab, which `--help` does without

    return examples() / "scenarios"


def _load(name: str) -> Scenario:
    """Load a scenario by name or, if there is a slash, by the path of a folder. Raises BadInput."""
    from kproxy.scenario.files import load, names

    if "/" in name:
        return load(Path(name))
    known = names(_folder())
    if name not in known:
        near = difflib.get_close_matches(name, known, 3)
        here = [f"./{name}"] if Path(name).is_dir() else []
        found = " or ".join([*here, *near]) or "kproxy scenario list"
        raise BadInput([f"no scenario {name!r}"], remedy=found)
    return load(_folder() / name)


def _chosen(option: str, value: str | None, known: tuple[str, ...]) -> str:
    if value is not None and value not in known:
        raise BadInput([f"{option} {value}: this scenario is for {', '.join(known)}"])
    return value or known[0]
