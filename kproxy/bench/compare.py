"""Measures this checkout and another one in turns, and prints ratios: see scripts/bench-compare.

The other one may be older: what is measured is run in new processes, by its own interpreter, with
nothing of this module, and a lab is built in a few words that every version understands.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from msgspec import Struct

from kproxy.bench.lab import await_taken_down
from kproxy.kernel.netns import Namespace
from kproxy.report.terminal import Paper

_PYTHON = ".venv/bin/python"
_OFTEN = 7
_IMPORT = """
import time
start = time.perf_counter()
import kproxy.lab
print(time.perf_counter() - start)
"""
_LAB = """
import socket, time
from kproxy.lab import Lab, LabSpec, NodeSpec, PodSpec, PortSpec

pods = {pods}
nodes = tuple(
    NodeSpec(
        name=f"node-{{node}}",
        pods=tuple(
            PodSpec(name=f"pod-{{pod}}", ports=(PortSpec(port=80),))
            for pod in range(node, pods, {nodes})
        ),
    )
    for node in range({nodes})
)
for number in range({labs}):
    start = time.perf_counter()
    with Lab(LabSpec(nodes=nodes), mode=None) as lab:
        for pod in lab.pods.values():
            with pod.namespace.entered():
                address = next(iter(pod.addresses.values()))
                with socket.create_connection((address, 80)) as asking:
                    asking.sendall(b"hello\\n")
                    assert asking.recv(1)
        took = time.perf_counter() - start
print(took)
"""


class _Failed(Exception):
    """A measurement that cannot be made in one of the checkouts."""


class Measurement(Struct, frozen=True, kw_only=True):
    """`arguments` are those of Python; `read` takes its output and the seconds that it ran, and
    returns figures by name. A short one is made several `times` in a row, and its median counts.
    `leaves_namespaces`: the kernel still takes them down when it has ended.
    """

    name: str
    arguments: tuple[str, ...]
    read: Callable[[str, float], dict[str, float]]
    times: int = 1
    leaves_namespaces: bool = True


def _printed(output: str, _seconds: float) -> dict[str, float]:
    return {"s": float(output.split()[-1])}


def _took(_output: str, seconds: float) -> dict[str, float]:
    return {"s": seconds}


def _sync(output: str, _seconds: float) -> dict[str, float]:
    found = json.loads(output.splitlines()[-1])
    return {
        "full s": found["full_s"],
        "change ms": 1000 * found["change_median_s"],
        "peak MiB": found["peak_mib"],
    }


def _syncs() -> Iterator[Measurement]:
    for mode, variant in (
        ("iptables", "nft"),
        ("iptables", "legacy"),
        ("nftables", "kube-proxy"),
        ("nftables", "flat"),
        ("ipvs", ""),
    ):
        chosen = ("--variant", variant) if variant else ()
        yield Measurement(
            name=f"sync {mode} {variant}".strip(),
            arguments=(
                *("-m", "kproxy", "bench", "sync", "--json", "--mode", mode, *chosen),
                *("--services", "10000", "--endpoints", "5", "--changes", "50"),
            ),
            read=_sync,
        )


MEASUREMENTS = (
    Measurement(
        name="import kproxy.lab",
        arguments=("-c", _IMPORT),
        read=_printed,
        times=_OFTEN,
        leaves_namespaces=False,
    ),
    Measurement(
        name="lab of 3 nodes, 6 pods",
        arguments=("-c", _LAB.format(nodes=3, pods=6, labs=5)),
        read=_printed,
        times=_OFTEN,
    ),
    Measurement(
        name="lab of 10 nodes, 1000 pods",
        arguments=("-c", _LAB.format(nodes=10, pods=1000, labs=1)),
        read=_printed,
    ),
    Measurement(name="matrix --seed", arguments=("-m", "kproxy", "matrix", "--seed"), read=_took),
    *_syncs(),
)


@click.command()
@click.argument("other", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True)
@click.option("--only", multiple=True, help="Part of a name; may be repeated. Default: everything.")
def main(other: Path, runs: int, only: tuple[str, ...]) -> None:
    """Measure OTHER, a checkout with a .venv, and this one in turns."""
    if not (other / _PYTHON).exists():
        raise click.UsageError(f"{other} has no {_PYTHON}: run scripts/setup there")
    chosen = [each for each in MEASUREMENTS if not only or any(part in each.name for part in only)]
    if not chosen:
        raise click.UsageError("nothing of that name; there is: " + ", ".join(_names()))
    rows: list[list[str]] = []
    failed = False
    for each in chosen:
        try:
            rows += _rows(each, other, runs)
        except _Failed as error:
            click.echo(error, err=True)
            failed = True
    Paper().table(["what", "other", "min-max", "this", "min-max", "ratio"], rows)
    if failed:
        sys.exit(1)


def _names() -> list[str]:
    return [each.name for each in MEASUREMENTS]


def _rows(measurement: Measurement, other: Path, runs: int) -> Iterator[list[str]]:
    """Measure in turns, and yield a row for each figure."""
    found: dict[Path, list[dict[str, float]]] = {other: [], Path.cwd(): []}
    for run in range(runs):
        for checkout, figures in found.items():
            click.echo(f"{measurement.name}, {run + 1} of {runs}, {checkout.name}", err=True)
            measured = [_measured(measurement, checkout) for _ in range(measurement.times)]
            figures.append(
                {name: statistics.median(each[name] for each in measured) for name in measured[0]}
            )
    theirs, ours = found.values()
    for name in ours[0]:
        before, after = ([figures[name] for figures in each] for each in (theirs, ours))
        ratio = statistics.median(after) / statistics.median(before)
        yield [f"{measurement.name}: {name}", *_spread(before), *_spread(after), f"{ratio:.2f}"]


def _measured(measurement: Measurement, checkout: Path) -> dict[str, float]:
    start = time.perf_counter()
    done = subprocess.run(
        [str(checkout.absolute() / _PYTHON), *measurement.arguments],
        cwd=checkout,
        stdout=subprocess.PIPE,
        # Modules are compiled once for both, also where the environment says otherwise.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise _Failed(f"{measurement.name}: exit status {done.returncode} in {checkout}")
    if measurement.leaves_namespaces:
        with Namespace.create("compare") as here, here.entered():
            await_taken_down()
    return measurement.read(done.stdout, seconds)


def _spread(figures: list[float]) -> tuple[str, str]:
    """Return median, minimum and maximum as text."""
    return _text(statistics.median(figures)), f"{_text(min(figures))}-{_text(max(figures))}"


def _text(figure: float) -> str:
    return f"{figure:.3g}" if figure < 100 else f"{figure:.0f}"


if __name__ == "__main__":
    main()
