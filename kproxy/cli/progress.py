"""Progress on standard error: standard output is for the result."""

from __future__ import annotations

import sys

import click

from kproxy.report.width import fitting


def say(text: str) -> None:
    """Print progress, in lines that fit the terminal."""
    click.echo(fitting(text, sys.stderr), err=True)
