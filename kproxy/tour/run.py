"""A tour of one manifest: its objects, the clients that reach it, and the effect of changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from kproxy.api.types import Pod
from kproxy.controlplane.members import is_ready
from kproxy.errors import TimedOut
from kproxy.lab import Lab
from kproxy.lab.names import host_name
from kproxy.probe.prober import Prober
from kproxy.tour import lookups, objects, summary, traffic
from kproxy.tour.catalog import Example
from kproxy.tour.part import Part
from kproxy.tour.steps import STEPS

_READY_S = 10  # for pods with slow probes


def run(lab: Lab, example: Example) -> Iterator[Part]:
    """Yield each part as soon as it is known.

    `lab`: built from examples/lab/services.yaml, without other objects. Raises what `Lab.apply`
    raises.
    """
    lab.apply(example.path)
    with suppress(TimedOut):  # the tables show which are not ready, and the warnings why
        lab.wait_for(lambda: all(map(is_ready, lab.objects(Pod))), timeout_s=_READY_S)
    yield Part(
        title="What the control plane made of it", tables=objects.tables(lab), notes=_warnings(lab)
    )
    if objects.services(lab):
        yield lookups.look_up(lab)
    with Prober(lab) as prober:
        parts = traffic.ask(lab, prober)
        yield from parts
        if parts:
            yield traffic.why(lab, prober, parts)
        if example.name in STEPS:
            yield from STEPS[example.name](lab, prober, example.path)
    owners = objects.owners(lab)
    seen = [*summary.paragraphs(parts, lambda address: owners.get(address, address))]
    if seen:
        yield Part(title="In short", notes=seen)


def _warnings(lab: Lab) -> list[str]:
    """Return a sentence for each warning, with all the objects it is about."""
    about: dict[str, list[str]] = {}
    for (kind, namespace, name), texts in lab.warnings.items():
        for text in texts:
            about.setdefault(text, []).append(f"{kind} {host_name(name, namespace or 'default')}")
    return [f"Warning: {', '.join(names)}: {text}" for text, names in about.items()]
