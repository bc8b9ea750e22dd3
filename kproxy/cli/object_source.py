"""The option by which a lab's proxies have their objects from its API, not from the lab itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kproxy.errors import BadInput

if TYPE_CHECKING:
    from kproxy.lab.object_source import ObjectSource

API = "api"

option = click.option(
    "--source",
    type=click.Choice(["direct", API]),
    default="direct",
    show_default=True,
    help="api: kproxy's proxies watch the lab's API, as `kproxy run` does on a cluster.",
)


def problem(source: str, *, others: bool) -> str:
    """Return why there cannot be that source, or "". `others`: no proxy of kproxy's own runs."""
    if source == API and others:
        return "--source api: no proxy of kproxy runs that could have one"
    return ""


def of_lab(source: str, proxy_command: str | None) -> ObjectSource | None:
    """Return the source of a lab that the command has for itself; None if objects are handed over.

    Raises BadInput.
    """
    if wrong := problem(source, others=proxy_command is not None):
        raise BadInput([wrong])
    if source != API:
        return None
    from kproxy.resident.through_api import ThroughApi

    return ThroughApi()
