"""Plots of results: `python -m kproxy.bench.plots [--output FOLDER] FILE...` writes SVG files.

The files have results as JSON lines, as `kproxy bench ... --json` prints them. Several results of
the same size count as one: their median. Needs matplotlib. The same results make the same files,
byte by byte, with the same version of matplotlib.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from kproxy.bench.results import LatencyResult, ReferenceResult, SyncResult
from kproxy.typed import decoded

Result = SyncResult | LatencyResult | ReferenceResult
Points = Mapping[int, float]  # number of Services -> value

_Some = TypeVar("_Some", SyncResult, LatencyResult)

_FOLDER = Path("docs/plots")
_PLAIN = "one DNAT rule"
_DIRECT = "no rules"
_GREY = "#777777"
_STYLES = {  # line -> its style. The colours are those of Okabe and Ito.
    "iptables nft": {"color": "#0072b2", "marker": "o"},
    "iptables legacy": {"color": "#56b4e9", "marker": "s"},
    "ipvs": {"color": "#009e73", "marker": "^"},
    "nftables kube-proxy": {"color": "#d55e00", "marker": "D"},
    "nftables flat": {"color": "#cc79a7", "marker": "v"},
    _PLAIN: {"color": _GREY, "linestyle": "--"},
    _DIRECT: {"color": _GREY, "linestyle": ":"},
}
_OTHER_STYLE = {"color": "#000000", "marker": "x"}
_REFERENCE_STYLE = {"color": "#000000", "marker": "*", "markersize": 11, "linestyle": ""}
_LEGEND_CHARACTERS, _LEGEND_INCHES = 40, 3  # the width of a column
_SETTINGS = {
    "figure.facecolor": "white",  # readable on dark pages, too
    "font.size": 10,
    "svg.hashsalt": "kproxy",
}
_METADATA = {"Date": None, "Creator": None}


def read(files: Iterable[Path]) -> list[Result]:
    """Return all results in the files. Raises msgspec.ValidationError for any other line."""
    return [decoded(line, Result) for file in files for line in file.read_bytes().splitlines()]


def line_name(result: SyncResult | LatencyResult) -> str:
    """Return the mode, the variant if one was chosen, and the kernel if it was user-mode Linux."""
    words = [result.size.mode]
    if result.size.variant != "auto":
        words.append(result.size.variant)
    if result.user_mode_linux:
        words.append("(user-mode Linux)")
    return " ".join(words)


def lines(
    results: Iterable[_Some],
    value: Callable[[_Some], float],
    name: Callable[[_Some], str] = line_name,
) -> dict[str, Points]:
    """Return the points of each line by its name: medians by number of Services."""
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        values[name(result)][result.size.services].append(value(result))
    return {
        line: {services: statistics.median(each) for services, each in sorted(points.items())}
        for line, points in sorted(values.items(), key=_place)
    }


def write(results: Iterable[Result], folder: Path) -> Iterator[Path]:
    """Draw the plots that there are results for; yield the files written."""
    results = list(results)
    if syncs := [each for each in results if isinstance(each, SyncResult)]:
        references = [each for each in results if isinstance(each, ReferenceResult)]
        yield _sync_full(syncs, references, folder / "sync-full.svg")
        yield _sync_change(syncs, references, folder / "sync-change.svg")
    if latencies := [each for each in results if isinstance(each, LatencyResult)]:
        yield _latency(latencies, folder / "latency.svg")


def _sync_full(results: list[SyncResult], references: list[ReferenceResult], path: Path) -> Path:
    figure, (axes,) = _figure(["First sync of all Services"], "seconds", width=6.4)
    _draw(axes, lines(results, lambda each: each.full_s))
    _draw_references(axes, references, lambda each: each.full_s)
    return _save(figure, [axes], path)


def _sync_change(results: list[SyncResult], references: list[ReferenceResult], path: Path) -> Path:
    titles = ["One endpoint replaced", "One endpoint added or removed"]
    figure, axes = _figure(titles, "milliseconds (median)", width=10)
    _draw(axes[0], lines(results, lambda each: each.change_median_s * 1e3))
    _draw_references(axes[0], references, lambda each: each.change_s * 1e3)
    _draw(axes[1], lines(results, lambda each: each.scale_median_s * 1e3))
    return _save(figure, axes, path)


def _latency(results: list[LatencyResult], path: Path) -> Path:
    titles = ["Connection setup (median)", "Compared with one plain DNAT rule"]
    figure, axes = _figure(titles, "microseconds", width=10)
    usual = [each for each in results if not each.user_mode_linux]
    _draw(axes[0], lines(results, lambda each: each.service_median_us))
    _draw(axes[0], lines(usual, lambda each: each.plain_median_us, lambda _: _PLAIN))
    _draw(axes[0], lines(usual, lambda each: each.direct_median_us, lambda _: _DIRECT))
    _draw(axes[1], lines(results, lambda each: each.ratio))
    axes[1].set_ylabel("times as long")
    axes[1].axhline(1, color=_GREY, linestyle="--")
    return _save(figure, axes, path)


def _figure(titles: list[str], unit: str, width: float) -> tuple[Any, list[Any]]:
    figure, axes = _pyplot().subplots(
        ncols=len(titles), figsize=(width, 4.4), layout="constrained", squeeze=False
    )
    for each, title in zip(axes[0], titles, strict=True):
        each.set_title(title)
        each.set_xlabel("Services")
        each.set_ylabel(unit)
        each.set_xscale("log")
        each.set_yscale("log")
        each.grid(which="major", color="#dddddd", linewidth=0.8)
        each.set_axisbelow(True)
        for spine in ("top", "right"):
            each.spines[spine].set_visible(False)
    return figure, list(axes[0])


def _draw(axes: Any, points_by_line: Mapping[str, Points]) -> None:
    for name, points in points_by_line.items():
        style = _STYLES.get(name.partition(" (")[0], _OTHER_STYLE)
        axes.plot(list(points), list(points.values()), label=name, **style)


def _draw_references(
    axes: Any, references: Iterable[ReferenceResult], value: Callable[[ReferenceResult], float]
) -> None:
    for each in references:
        name = textwrap.fill(each.name, _LEGEND_CHARACTERS)
        axes.plot([each.services], [value(each)], label=name, **_REFERENCE_STYLE)


def _save(figure: Any, axes: list[Any], path: Path) -> Path:
    ticker = importlib.import_module("matplotlib.ticker")
    for each in axes:
        each.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        each.yaxis.set_minor_locator(ticker.NullLocator())
        for axis in (each.xaxis, each.yaxis):
            axis.set_major_formatter(ticker.FuncFormatter(_plain))
    handles, names = axes[0].get_legend_handles_labels()
    columns = int(figure.get_figwidth() // _LEGEND_INCHES)
    figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata=_METADATA)
    return path


def _plain(value: float, _position: int) -> str:
    return f"{value:,g}" if value < 1e6 else f"{value:,.0f}"


def _place(line: tuple[str, object]) -> tuple[int, str]:
    """Return the sort key of a line: the order of the styles."""
    name = line[0].partition(" (")[0]
    return (list(_STYLES).index(name) if name in _STYLES else len(_STYLES), line[0])


def _pyplot() -> Any:
    """Return matplotlib.pyplot, set up to work without a display."""
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams.update(_SETTINGS)
    return importlib.import_module("matplotlib.pyplot")


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/plots", description="Draw benchmark results.")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="JSON lines")
    parser.add_argument("--output", type=Path, default=_FOLDER, metavar="FOLDER")
    arguments = parser.parse_args()
    files = arguments.files or sorted(_FOLDER.glob("*.jsonl"))
    if not files:
        sys.exit(f"plots: no results: name files, or put some in {_FOLDER}/*.jsonl")
    for path in write(read(files), arguments.output):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
