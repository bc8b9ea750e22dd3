"""`kproxy ui`: the page of a lab, in a browser."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from socket import socket
from typing import Any

import click
import msgspec
from msgspec import Struct

from kproxy.cli.completing import complete_lab
from kproxy.cli.labs import living_lab
from kproxy.errors import BadInput
from kproxy.report.width import fitting
from kproxy.typed import decoded

_TIMEOUT_S = 60.0  # of a question


@click.command()
@click.argument("name", required=False, shell_complete=complete_lab)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="The port of the page on loopback. Default: that of the lab's page before, or a free one.",
)
def ui(name: str | None, port: int) -> None:
    """Show a lab in a browser, live: hosts, Services, the way of each packet, who reaches what.

    The page is served on loopback until Ctrl-C, or until the lab ends; the lab goes on without it.
    Its address holds a token: who has it may do there what you may do in the lab.

    \b
    Examples:
      kproxy ui
      kproxy ui shop --port 8080

    \b
    Exit status:
      0  the lab has ended, or Ctrl-C
      1  the lab does not answer
      2  there is no such lab, or the port is taken
    """
    serve(living_lab(name), port)


def serve(place: Path, port: int) -> None:
    """Serve the page of a lab until it ends or Ctrl-C. Raises BadInput if the port is taken."""
    import asyncio

    from kproxy.ui.server import PageServer

    sockets, token = _listening(place, port)
    address = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/#token={token}"
    click.echo(fitting(f"the page of {place.name}, until Ctrl-C:", sys.stdout))
    click.echo(address)
    sys.stdout.flush()
    try:
        asyncio.run(PageServer(_Line(place), token).serve(sockets))
        click.echo(f"lab {place.name} has ended", err=True)
    except KeyboardInterrupt:
        click.echo(f"\nlab {place.name} goes on; to end it: kproxy down {place.name}", err=True)


class _Kept(Struct, frozen=True):
    """Where a lab's page was served last: a page that is still open finds it again there."""

    port: int = 0
    token: str = ""


def _listening(place: Path, port: int) -> tuple[list[socket], str]:
    """Listen where the lab's page was before, or on the port that is wanted, or on any; return the
    token with it, which is the lab's own.
    """
    import secrets

    from kproxy.resident.access import listen_outside
    from kproxy.resident.places import write_private
    from kproxy.resident.records import PAGE

    try:
        kept = decoded((place / PAGE).read_bytes(), _Kept)
    except (OSError, msgspec.DecodeError):
        kept = _Kept()
    try:
        sockets = listen_outside(port or kept.port, "--port")
    except BadInput:
        if port:
            raise
        sockets = listen_outside(0, "--port")
    now = _Kept(sockets[0].getsockname()[1], kept.token or secrets.token_urlsafe(32))
    write_private(place / PAGE, msgspec.json.encode(now).decode())
    return sockets, now.token


class _Line:
    """The way to a lab's process: its control socket."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        from kproxy.resident.control import ask

        return ask(self._place, request, timeout_s=_TIMEOUT_S).values

    def lines(self, request: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        from kproxy.resident.control import converse

        with converse(self._place, request) as connection:
            connection.settimeout(None)
            connection.sendall(b"\n")
            with suppress(ConnectionResetError), connection.makefile("rb") as received:
                for line in received:
                    yield msgspec.json.decode(line)  # several times as fast as json
