"""The commands for labs that run: `down`, `ls`, `status`, `logs`, `shell`, `clean`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kproxy.cli.completing import complete_host, complete_lab, complete_node
from kproxy.cli.words import RunsWords
from kproxy.errors import BadInput, KproxyError, TimedOut, Unreachable

if TYPE_CHECKING:
    from kproxy.resident.cleaning import Leftovers
    from kproxy.resident.records import Record

_GRACE_S = 20.0


_lab_argument = click.argument("name", required=False, shell_complete=complete_lab)


def living_lab(name: str | None, *, pointed_at: bool = True) -> Path:
    """Return the place of a living lab. Without a name it is the only one or, of several, the one
    that KUBECONFIG points at, unless `pointed_at` is false. Raises BadInput.
    """
    from kproxy.resident import places

    living = [each for each in places.names() if places.is_living(each)]
    if name is None:
        living = [each for each in living if not _is_run(places.place_of(each))]
    there = f"there are: {', '.join(living)}" if living else "there is none"
    if name is None and pointed_at and len(living) > 1:
        given = Path(os.environ.get("KUBECONFIG", "")).parent
        name = next((each for each in living if places.place_of(each) == given), None)
    if name is None:
        if len(living) != 1:
            remedy = "name one; for commands that name hosts, pods or kinds: --lab NAME"
            raise BadInput([f"which lab? {there}"], remedy=remedy if living else "kproxy up")
        name = living[0]
    place = places.place_of(name)
    if name not in living:
        dead = "; it is dead: kproxy clean" if place.is_dir() else ""
        raise BadInput([f"no lab {name} is up{dead}; {there}"])
    return place


@click.command()
@_lab_argument
@click.option("--all", "every", is_flag=True, help="End all labs.")
def down(name: str | None, every: bool) -> None:
    """End a lab and remove all of it. NAME may be left out if there is only one.

    \b
    Examples:
      kproxy down
      kproxy down shop
      kproxy down --all

    \b
    Exit status:
      0  it is gone
      1  it had to be killed, and something is left (it is named)
      2  there is no such lab
    """
    from kproxy.resident import places

    if name and every:
        raise BadInput(["--all: a lab is named, too; give only one of them"])
    wanted = (
        [places.place_of(each) for each in places.names() if places.is_living(each)]
        if every
        else [living_lab(name, pointed_at=False)]
    )
    for place in wanted:
        _end(place)
        click.echo(f"{place.name} is gone")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def ls(as_json: bool) -> None:
    """List labs, also dead ones: what they have left is for `kproxy clean`.

    \b
    Examples:
      kproxy ls
      kproxy ls --json
    """
    from kproxy.cli.lab_status import listing
    from kproxy.resident import places

    found = [_brief(places.place_of(name)) for name in places.names()]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif found:
        click.echo(listing(found))
    else:
        click.echo("no lab is up; next: kproxy up", err=True)


@click.command()
@_lab_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def status(name: str | None, as_json: bool) -> None:
    """Show one lab: its nodes with their proxies, pods, Services, API, memory.

    \b
    Examples:
      kproxy status
      kproxy status shop --json

    \b
    Exit status:
      0  it runs
      1  it does not answer
      2  there is no such lab
    """
    from kproxy.cli.lab_status import details
    from kproxy.resident.control import ask

    found = ask(living_lab(name), {"do": "status"}).values
    click.echo(json.dumps(found, indent=2) if as_json else details(found))


@click.command()
@_lab_argument
@click.option("-f", "--follow", is_flag=True, help="Go on with what is logged from now on.")
@click.option("--tail", type=click.IntRange(0), help="Only so many of the last lines.")
@click.option(
    "--node",
    metavar="NODE",
    help="The output of --proxy-command on this node instead.",
    shell_complete=complete_node,
)
def logs(name: str | None, follow: bool, tail: int | None, node: str | None) -> None:
    """Print the log of a lab's process. Of a long log only the end is kept.

    \b
    Examples:
      kproxy logs
      kproxy logs shop -f --tail 10
      kproxy logs --node node-a
    """
    from kproxy.resident import logs as files
    from kproxy.resident.commands import log_name
    from kproxy.resident.places import name_problem

    place = living_lab(name)
    if node and name_problem(node):
        raise BadInput([f"--node: {node!r} cannot be the name of a node"])
    path = place / (log_name(node) if node else files.LOG)
    if not path.exists():
        raise BadInput([f"--node: no command runs on {node}"], remedy="kproxy up --proxy-command")
    text, position = files.last_lines(path, tail)
    click.echo(text, nl=False)
    for more in files.follow(path, position) if follow else ():
        click.echo(more, nl=False)
        sys.stdout.flush()


@click.command(
    cls=RunsWords,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option(
    "--lab",
    "name",
    metavar="NAME",
    help="The lab, if there are several.",
    shell_complete=complete_lab,
)
@click.argument("host", shell_complete=complete_host)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def shell(name: str | None, host: str, command: tuple[str, ...]) -> None:
    """Open a shell on a host of a lab (node, pod or client), or run a command there.

    It is in the host's network namespace, with its host name and with the machine's files; in a pod
    names are resolved as the pod does. KUBECONFIG is set. What is started there is killed when the
    lab ends.

    \b
    Examples:
      kproxy shell node-a
      kproxy shell --lab shop outside -- curl -s http://192.168.10.11:30080
      kproxy shell shell -- ip route

    The exit status is the command's; 126 or 127 if it cannot be started.
    """
    from kproxy.resident.entering import become

    place = living_lab(name)
    words = command[command[:1] == ("--",) :]
    try:
        become(place, host, words)
    except OSError as error:  # in the words of a shell
        click.echo(f"kproxy: {words[0] if words else 'shell'}: {error.strerror}", err=True)
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


@click.command()
@click.option("--yes", is_flag=True, help="Remove without a question.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def clean(yes: bool, as_json: bool) -> None:
    """Remove what dead labs have left: it is listed, then removed after a question.

    These are places under the state folder, names under /run/netns, and processes. Living labs and
    what belongs to others are not touched.

    \b
    Examples:
      kproxy clean
      kproxy clean --yes
    """
    from kproxy.resident import cleaning

    found = cleaning.find()
    if as_json:
        removed = cleaning.remove() if yes else found
        click.echo(json.dumps(_values(removed), indent=2))
        return
    if not found:
        click.echo("nothing is left of dead labs")
        return
    click.echo("\n".join(_lines(found)))
    try:
        agreed = yes or click.confirm("Remove all of it?")
    except click.Abort:  # nobody is there to answer
        raise BadInput(["there is no answer"], remedy="kproxy clean --yes") from None
    if not agreed:
        raise click.exceptions.Exit(1)
    cleaning.remove()
    click.echo("removed")


def _brief(place: Path) -> dict[str, Any]:
    """Return the status of a lab, or why there is none."""
    from kproxy.resident import places
    from kproxy.resident.control import ask

    try:
        return dict(ask(place, {"do": "status"}, timeout_s=5).values)
    except Unreachable:
        state = "a run of kproxy" if _is_run(place) else "does not answer"
        return {"name": place.name, "state": state if places.is_living(place.name) else "dead"}


def _is_run(place: Path) -> bool:
    """Tell whether a lab ends with the command that has it, so that nobody means it by default."""
    from kproxy.resident.records import RUN, read_record

    record = read_record(place)
    return record is not None and record.source == RUN


def _end(place: Path) -> None:
    """End a living lab; one that does not end is killed. Raises KproxyError if it stays."""
    from kproxy.resident import cleaning, places
    from kproxy.resident.control import ask
    from kproxy.resident.records import read_record

    record = read_record(place)
    try:
        ask(place, {"do": "stop"}, timeout_s=_GRACE_S)
        places.await_end(place.name, _GRACE_S)
        if record:
            cleaning.end_marked(record.id)
        return
    except (Unreachable, TimedOut):
        if not places.is_living(place.name):
            return
    if record:
        _kill(record)
    try:
        places.await_end(place.name, _GRACE_S)
    except TimedOut as error:
        raise KproxyError(f"lab {place.name} cannot be ended: {error}") from None
    cleaning.remove([place.name])


def _kill(record: Record) -> None:
    """Kill a lab's process, if it is still the one of the record."""
    from kproxy.lab.leftovers import started_at

    try:
        pidfd = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return
    try:
        if started_at(record.pid) == record.started:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)


def _lines(found: Leftovers) -> list[str]:
    lines = []
    for dead in found.labs:
        lines.append(f"lab {dead.name}: {dead.place}")
        lines += [f"  process {each.pid}: {each.command}" for each in dead.processes]
    return lines + [f"namespace {name}" for name in found.namespaces]


def _values(found: Leftovers) -> dict[str, Any]:
    return {
        "labs": [
            {
                "name": dead.name,
                "place": str(dead.place),
                "processes": [
                    {"pid": each.pid, "command": each.command} for each in dead.processes
                ],
            }
            for dead in found.labs
        ],
        "namespaces": [*found.namespaces],
    }
