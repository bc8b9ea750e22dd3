"""The pictures of a run: of each question, the way of the probe that explains its answer. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec.structs import replace

from kproxy.explain.picture import picture
from kproxy.scenario.run import Asked, Run

_TITLE_CHARACTERS = 40
_NOT_IN_NAMES = re.compile(r"[^a-z0-9.]+")


def picture_of(asked: Asked) -> str:
    """Return the picture of a question as SVG, "" if the way of its probe was not wanted."""
    itinerary, question = asked.explanation.itinerary, asked.question
    if itinerary is None:
        return ""
    if not question.asks.address:
        named = replace(itinerary.question, target=str(question.asks))
        itinerary = replace(itinerary, question=named)
    return picture(itinerary)


def pictures_of(run: Run) -> Iterator[tuple[str, str]]:
    """Yield a file name and a picture for each question, in the order of the questions.

    `2-1-switch-to-the-policy-cluster--node-a-asks-balancer-lb-80.svg`: the round, of which the
    first has no title; the question in it; the round's title; client and target.
    """
    for place, round_ in enumerate(run.rounds, 1):
        title = _slug(round_.remedy.title)[:_TITLE_CHARACTERS].strip("-") if round_.remedy else ""
        for number, asked in enumerate(round_.asked, 1):
            question = asked.question
            ((kind, target), *_) = question.asks.named.items()
            words = [question.client, "asks", "" if kind == "address" else kind, target]
            protocol = "" if question.protocol == "TCP" else question.protocol
            words += [str(question.asks.port), protocol, question.flow and f"flow {question.flow}"]
            name = _slug(" ".join(words))
            middle = f"{title}--{name}" if title else name
            yield f"{place}-{number}-{middle}.svg", picture_of(asked)


def _slug(text: str) -> str:
    return _NOT_IN_NAMES.sub("-", text.lower()).strip("-")
