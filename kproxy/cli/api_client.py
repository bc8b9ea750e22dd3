"""The API of a lab as the commands use that kubectl has, too: they say what kubectl says."""

from __future__ import annotations

import os
from pathlib import Path

import click

from kproxy.cli.progress import say
from kproxy.errors import BadInput
from kproxy.resident.api_client import ApiClient, Refusal
from kproxy.resident.kubeconfig import Access, read_access


def access_of(lab: str | None) -> Access:
    """Return the access to the API of a lab: of the named one, of the one we are in, or of the only
    one there is. Raises BadInput.
    """
    from kproxy.cli.labs import living_lab
    from kproxy.resident.records import KUBECONFIG, MARK

    if lab is None and MARK in os.environ and (inside := os.environ.get("KUBECONFIG")):
        return read_access(Path(inside))

    path = living_lab(lab) / KUBECONFIG
    if not path.exists():
        raise BadInput([f"lab {path.parent.name} serves no API"])
    return read_access(path)


def client_of(access: Access) -> ApiClient:
    """Return a client whose server's warnings go to standard error, as with kubectl."""
    return ApiClient(access, lambda text: say(f"Warning: {text}"))


def mistake(message: str) -> Refusal:
    """Return the error for what was asked in vain, before the server was."""
    return Refusal(f"error: {message}", status=0, reason="")


def complain(error: Refusal) -> None:
    """Print what the server has refused, as kubectl does."""
    click.echo(str(error), err=True)
