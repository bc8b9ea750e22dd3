"""The two tours of `kproxy demo`: all manifests of examples/ at once, or a single one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kproxy.api.manifests import load
from kproxy.api.types import Ingress
from kproxy.lab import Lab
from kproxy.tour import catalog, demo
from kproxy.tour.part import Part, Shown
from kproxy.tour.report import WIDTHS, WIDTHS_FOR_PROTOCOLS, findings_values, part_values
from kproxy.tour.run import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Tour:
    """A lab, the manifests applied to it, and the parts to show."""

    lab: Path
    """The file of the lab."""
    applied: Path
    """A manifest, or a folder of them."""
    parts: Callable[[Lab], Iterator[Part]]
    """Applies it and yields the parts."""
    values: Callable[[Shown], Mapping[str, object]]
    """Returns the tour as plain values for JSON."""
    widths: Sequence[int]
    """The widths of the columns of findings."""
    ask: tuple[str, ...]
    """A pod of the lab, and a command to try there."""


def of_all(examples: Path) -> Tour:
    """Return the tour of the cluster of examples/."""

    def parts(lab: Lab) -> Iterator[Part]:
        # An Ingress needs a lab with an ingress.
        lab.apply(each for each in load([examples]).objects if not isinstance(each, Ingress))
        yield from demo.walk(lab)

    def values(shown: Shown) -> Mapping[str, object]:
        return {
            "mode": shown.mode,
            "ok": shown.ok,
            "lab_up_s": round(shown.lab_up_s, 3),
            "total_s": round(shown.total_s, 3),
            "findings": findings_values(shown.parts),
        }

    asking = "bash -c 'exec 3<>/dev/tcp/10.96.0.10/80; echo >&3; cat <&3'"
    return Tour(
        lab=examples / demo.LAB,
        applied=examples,
        parts=parts,
        values=values,
        widths=WIDTHS,
        ask=("shell-c", asking),
    )


def of_manifest(examples: Path, example: catalog.Example) -> Tour:
    """Return the tour of one manifest, on a cluster whose control plane runs its Deployments."""

    def values(shown: Shown) -> Mapping[str, object]:
        return {
            "example": example.name,
            "mode": shown.mode,
            "ok": shown.ok,
            "parts": [*map(part_values, shown.parts)],
            "left_out": shown.left_out,
        }

    return Tour(
        lab=examples / catalog.LAB,
        applied=example.path,
        parts=lambda lab: run(lab, example),
        values=values,
        widths=WIDTHS_FOR_PROTOCOLS,
        ask=("shell", "getent", "hosts", "kube-dns.kube-system"),
    )
