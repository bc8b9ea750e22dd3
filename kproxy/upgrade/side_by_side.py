"""Several modes side by side: what becomes of each question in each of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from kproxy.api.types import KubernetesObject, Service
from kproxy.outcome import Outcome, Prediction
from kproxy.upgrade.model import Model, model_of
from kproxy.upgrade.prediction import (
    Answer,
    Neighbourhood,
    Neighbours,
    Plans,
    in_words,
    only_near,
    plans_of,
)
from kproxy.upgrade.questions import Question, questions
from kproxy.upgrade.side import Configured


class Cell(Struct, frozen=True, kw_only=True):
    """The answer in one mode. `short`: in few words, the same if clients and pods cannot tell."""

    short: str
    answer: Answer


class Row(Struct, frozen=True, kw_only=True):
    """A question, and its answers in the order of the modes."""

    question: Question
    cells: tuple[Cell, ...]

    @property
    def differs(self) -> bool:
        return len({each.answer.seen for each in self.cells}) > 1


class Comparison(Struct, frozen=True, kw_only=True):
    """All rows, in the order of the Services' names. `modes` are those of the cells.

    `left_out`: Services without a row, each with the reason.
    """

    version: str
    modes: tuple[str, ...]
    rows: tuple[Row, ...]
    left_out: tuple[str, ...] = ()

    @property
    def differing(self) -> int:
        """Return how many rows differ."""
        return sum(each.differs for each in self.rows)


def side_by_side(objects: Sequence[KubernetesObject], sides: Sequence[Configured]) -> Comparison:
    """Return the answers that the oracle predicts for every client and address.

    Raises BadInput if a configuration cannot be used, NoOracle if a mode cannot be predicted.
    """
    model = model_of(objects)
    planned = [plans_of(model, side) for side in sides]
    rows = tuple(_rows(model, sides, planned))
    asked = {(each.question.service.namespace, each.question.service.name) for each in rows}
    return Comparison(
        version=str(sides[0].side.version),
        modes=tuple(side.mode.name for side in sides),
        rows=rows,
        left_out=tuple(
            f"Service {each.metadata.namespace}/{each.metadata.name}: {_why_left_out(each)}"
            for each in objects
            if isinstance(each, Service)
            and (each.metadata.namespace, each.metadata.name) not in asked
        ),
    )


def _why_left_out(service: Service) -> str:
    if service.spec.type == "ExternalName":
        return "of type ExternalName, which is a matter of DNS"
    if service.spec.cluster_ip == "None":
        return "headless, which is a matter of DNS"
    if not service.spec.cluster_ip:
        return "it has no cluster IP; an API server gives it one: kubectl get service -o yaml"
    return "not a Service of this proxy"


def _rows(model: Model, sides: Sequence[Configured], planned: Sequence[Plans]) -> Iterator[Row]:
    for family in model.spec.families:
        first = planned[0][family]
        plan = next(iter(first.values()))
        neighbours = Neighbours(plan)
        for name in sorted(plan.services):
            near = neighbours.of(name)
            around = [
                Neighbourhood.of(model, side, plans[family], near)
                for side, plans in zip(sides, planned, strict=True)
            ]
            for question in questions(model, only_near(first, near), name, two_nodes=True):
                cells = (_cell(model, question, each.predict(question)) for each in around)
                yield Row(question=question, cells=tuple(cells))


def _cell(model: Model, question: Question, found: Prediction) -> Cell:
    return Cell(short=_short(model, question, found), answer=in_words(model, found))


def _short(model: Model, question: Question, found: Prediction) -> str:
    """Return an answer in few words: how many may answer, and whose address they see."""
    if found.outcome is not Outcome.DELIVERED:
        return str(found.outcome)
    client = model.network.hosts[question.packet.client]
    own = {*client.addresses, *client.gateways, "127.0.0.1", "::1"}
    seen = {source in own for source in found.sources.values()}
    address = "own" if seen == {True} else "node's" if seen == {False} else "own/node's"
    lost = f", {len(found.unanswered)} lost" if found.unanswered else ""
    failing = f", {len(found.failing)} fail" if found.failing else ""
    return f"{len(found.sources)}: {address}{lost}{failing}"


def values(comparison: Comparison) -> Mapping[str, object]:
    """Return plain values for JSON."""
    return {
        "version": comparison.version,
        "modes": list(comparison.modes),
        "differing": comparison.differing,
        "left_out": list(comparison.left_out),
        "rows": [
            {
                "service": str(row.question.service),
                "client": row.question.client,
                "asks": row.question.asks,
                "address": row.question.packet.address,
                "port": row.question.packet.port,
                "protocol": row.question.packet.protocol,
                "differs": row.differs,
                "answers": {
                    mode: {
                        "outcome": cell.answer.outcome,
                        "pods": list(cell.answer.pods),
                        "why": cell.answer.why,
                    }
                    for mode, cell in zip(comparison.modes, row.cells, strict=True)
                },
            }
            for row in comparison.rows
        ],
    }
