"""Itineraries as a page: the picture, and a row for each hop. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from kproxy.cli.itinerary_text import (
    ROLES,
    are_alike,
    ending_of,
    fate_of,
    hop_lines,
    host_of,
    links_of,
    repeated_title,
)
from kproxy.explain.itinerary import Itinerary
from kproxy.explain.picture import picture
from kproxy.report.page import Cell, Figure, Heading, Paragraph, Part, Table, cells, page


def page_of(itineraries: Sequence[Itinerary], *, everything: bool = False) -> str:
    """Return the page on one probe; on several, their fates, and one probe of each fate.

    `everything`: also rules that did nothing.
    """
    if len(itineraries) == 1:
        return page(itineraries[0].title, _probe(itineraries[0], everything))
    return page(repeated_title(itineraries), _probes(itineraries, everything))


def _probes(itineraries: Sequence[Itinerary], everything: bool) -> Iterator[Part]:
    fates = Counter(map(fate_of, itineraries)).most_common()
    examples = {fate_of(each): each for each in reversed(itineraries)}
    rows = tuple(cells(fate, *(at or [""]), str(count)) for (fate, *at), count in fates)
    yield Table("What became of them", ("fate", "endpoint", "probes"), rows)
    alike = are_alike(itineraries)
    for fate, count in fates:
        one = "" if alike else f": {examples[fate].title}"
        yield Heading(f"{', '.join(fate)}: {count}, of which one{one}")
        yield from _probe(examples[fate], everything)


def _probe(itinerary: Itinerary, everything: bool) -> Iterator[Part]:
    yield Paragraph(ending_of(itinerary), "good" if itinerary.answered else "bad")
    for each in itinerary.unseen:
        yield Paragraph(f"not seen: {each}")
    yield Figure(picture(itinerary), "Hosts from left to right, the packet from top to bottom.")
    for role, hops in groupby(enumerate(itinerary.hops, 1), lambda each: each[1].role):
        rows = []
        packet = ""
        for number, hop in hops:
            packet = packet or hop.packet
            told = "\n".join(hop_lines(hop, itinerary.named, everything=everything))
            links = links_of(hop).replace(", ", "\n")
            rows.append((*cells(str(number), host_of(hop), links), Cell(told, code=True)))
        title = f"{ROLES[role]}: {packet}"
        yield Table(
            title, ("hop", "host", "links", "packet, and what was done to it"), tuple(rows), left=2
        )
