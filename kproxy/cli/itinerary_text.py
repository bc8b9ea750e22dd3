"""Itineraries as text. Pure, but for the width of the terminal."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from kproxy.address import host_port
from kproxy.explain.itinerary import Endpoint, Ends, Hop, Itinerary, Route, Step, Tracked, place
from kproxy.report.width import NARROWEST, columns, wrapped

_WIDEST = 200
_INDENT = "    "
ROLES = {
    "request": "the request",
    "reply": "the answer",
    "error": "the refusal",
    "onward request": "the proxy's own connection",
    "onward reply": "its answer",
    "onward error": "its refusal",
}


def text_width() -> int:
    """Return the width of lines for standard output: the terminal's, within limits."""
    return min(max(columns(sys.stdout) or _WIDEST, NARROWEST), _WIDEST)


def lines_of(itinerary: Itinerary, width: int, *, everything: bool = False) -> list[str]:
    """Return the report on one probe in lines of at most `width`: a block for each hop, and the
    sentence at the end. `everything`: also rules that did nothing.
    """
    lines = [itinerary.title]
    role = ""
    names = itinerary.named
    for number, hop in enumerate(itinerary.hops, 1):
        if hop.role != role:
            role = hop.role
            lines += ["", f"{ROLES[role]}: {hop.packet}"]
        links = links_of(hop)
        lines.append(f"{number:>2}  {host_of(hop)}" + (f"  {links}" if links else ""))
        lines += [_INDENT + each for each in hop_lines(hop, names, everything=everything)]
    lines += ["", ending_of(itinerary)]
    lines += [f"not seen: {each}" for each in itinerary.unseen]
    return [line for each in lines for line in wrapped(each, width)]


def summary_lines(itineraries: Sequence[Itinerary], width: int) -> list[str]:
    """Return a line for each fate of several probes, with their number, the most frequent first."""
    fates = Counter(map(fate_of, itineraries))
    lines = [repeated_title(itineraries)]
    size = len(str(len(itineraries)))
    for (fate, *endpoints), count in fates.most_common():
        lines.append("  ".join(filter(None, [f"{count:>{size}}", fate, *endpoints])))
    return [line for each in lines for line in wrapped(each, width)]


def repeated_title(itineraries: Sequence[Itinerary]) -> str:
    """Return how often who asks whom."""
    question = itineraries[0].question
    if not are_alike(itineraries):
        return f"{len(itineraries)} packets"
    asked = place(question.address, question.port)
    return f"{len(itineraries)} times {question.source} asks {asked}, {question.protocol}"


def are_alike(itineraries: Iterable[Itinerary]) -> bool:
    """Tell whether all are those of one question."""
    return len({each.question for each in itineraries}) == 1


def fate_of(itinerary: Itinerary) -> tuple[str, ...]:
    """Return what became of a probe, and the endpoint that was chosen at last, if any was."""
    fate = _fate(itinerary) if itinerary.answered else itinerary.sentence
    return (fate, *_chosen(itinerary.endpoints))


def ending_of(itinerary: Itinerary) -> str:
    """Return what became of a probe, and why."""
    fate = _fate(itinerary) if itinerary.answered else "not answered"
    return f"{fate}: {itinerary.sentence}"


def host_of(hop: Hop) -> str:
    """Return the host, and its kind if that is no other word for it."""
    return hop.host if hop.kind == hop.host else f"{hop.host} ({hop.kind})"


def links_of(hop: Hop) -> str:
    """Return the links by which the packet came and went."""
    ways = (f"in by {hop.entry}" if hop.entry else "", f"out by {hop.exit}" if hop.exit else "")
    return ", ".join(filter(None, ways))


def _fate(itinerary: Itinerary) -> str:
    if itinerary.at not in [hop.host for hop in itinerary.hops]:
        name = itinerary.named.get(itinerary.at, "")
        return f"answered by {itinerary.at}{_bracketed(name)}"  # a host that was not watched
    if any(hop.role == "onward request" for hop in itinerary.hops):
        return f"answered by {itinerary.at}"
    answers = (hop.host for hop in itinerary.hops if hop.role == "reply")
    return f"answered by {next(answers, itinerary.at)}"


def _chosen(endpoints: Iterable[Endpoint]) -> tuple[str, ...]:
    """Return the endpoint that was chosen at last, if any was."""
    last = [*endpoints][-1:]
    return tuple(f"{host_port(each.address, each.port)}" for each in last)


def hop_lines(hop: Hop, names: Mapping[str, str], *, everything: bool) -> Iterator[str]:
    """Yield lines on what the host of a hop did with the packet. `names`: those of places."""
    yield _ends(hop.before, names)
    shown = [step for step in hop.steps if everything or step.effect]
    hook = ""
    for step in shown:
        if step.hook != hook:
            hook = step.hook
            yield hook
        yield "  " + _step(step, hop.after)
        if everything and step.rule:
            yield f"      {step.rule}"
    if left := len(hop.steps) - len(shown):
        yield f"{left} more step{'s' * (left != 1)} without an effect (--all)"
    if hop.ipvs:
        chosen = hop.ipvs
        scheduler = f" ({chosen.scheduler})" if chosen.scheduler else ""
        yield f"ipvs: {chosen.virtual_server}{scheduler} chooses {chosen.real_server}"
    if hop.route and hop.route.kind != "local":
        yield f"route: {_route(hop.route)}"
    if hop.after != hop.before:
        yield f"=> {_ends(hop.after, names)}"
    if hop.conntrack:
        yield f"conntrack: {_tracked(hop.conntrack)}"


def _step(step: Step, after: Ends) -> str:
    verdict, _, target = step.verdict.partition(" ")
    told = [step.purpose] if step.purpose else []
    if step.effect == "dnat":
        told.append(f"now {place(after.destination, after.destination_port)}")
    elif step.effect in ("snat", "masquerade"):
        told.append(f"now {place(after.source, after.source_port)}")
    elif target and not step.effect:
        told.append(f"to {target}")
    words = f": {', '.join(told)}" if told else ""
    return f"{step.effect or verdict:<10} {step.table} {step.chain}{words}"


def _route(route: Route) -> str:
    if route.problem:
        return f"none, {route.problem}"
    kind = "" if route.kind == "unicast" else f"{route.kind} "
    via = f"via {route.via} " if route.via else ""
    table = f" table {route.table}" if route.table not in ("", "main") else ""
    return f"{kind}{via}dev {route.dev}{table}"


def _tracked(entry: Tracked) -> str:
    mark = f", mark {entry.mark:#x}" if entry.mark else ""
    deleted = ", deleted since" if entry.deleted else ""
    return f"{_ends(entry.original)}, reply {_ends(entry.reply)}, {entry.state}{mark}{deleted}"


def _ends(ends: Ends, names: Mapping[str, str] = {}) -> str:
    source = place(ends.source, ends.source_port)
    destination = place(ends.destination, ends.destination_port)
    both = (f"{each}{_bracketed(names.get(each, ''))}" for each in (source, destination))
    return " -> ".join(both)


def _bracketed(name: str) -> str:
    return f" ({name})" if name else ""
