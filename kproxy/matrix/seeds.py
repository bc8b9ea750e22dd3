"""Documented access matrices, read from `tables/`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

import yaml
from msgspec import Struct, field

from kproxy.backend import load
from kproxy.matrix.places import Client, Kind, Question, Target
from kproxy.matrix.setting import Setting
from kproxy.typed import converted

SILENT = "-"


class Statement(Struct, frozen=True, kw_only=True):
    """The statement of a document about one question in one column."""

    revision: str
    column: str
    question: Question
    expect: str
    """success or fail."""
    basis: str
    """stated, derived, unqualified or implied."""
    unreproducible: str
    """The reason why no kube-proxy does what it says, "" if one can."""

    @property
    def implied(self) -> bool:
        return self.basis == "implied"


class Revision(Struct, frozen=True, kw_only=True):
    """One revision of a document: a setting for each column, and its statements."""

    name: str
    settings: Mapping[str, Setting]
    statements: tuple[Statement, ...]


class _Row(Struct, frozen=True, forbid_unknown_fields=True):
    service: Kind
    client: Client
    target: Target
    expect: tuple[str, ...]
    basis: str | tuple[str, ...]
    unreproducible: tuple[str, ...] = ()
    because: str = ""


class _Revision(Struct, frozen=True, forbid_unknown_fields=True):
    rows: tuple[_Row, ...]
    local_fallback: bool = True


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    columns: tuple[str, ...]
    profile: str
    policy: str
    revisions: dict[str, _Revision]
    reasons: dict[str, str] = field(default_factory=dict)


def node_level_affinity() -> list[Revision]:
    """Return the revisions of the table of `externalTrafficPolicy: Local` by network and mode,
    newest first.
    """
    text = files("kproxy.matrix.tables").joinpath("cce.yaml").read_text(encoding="utf-8")
    table = converted(yaml.safe_load(text), _Table)
    return [_revision(table, name, each) for name, each in table.revisions.items()]


def _revision(table: _Table, name: str, revision: _Revision) -> Revision:
    return Revision(
        name=name,
        settings={column: _setting(table, column, revision) for column in table.columns},
        statements=tuple(
            statement for row in revision.rows for statement in _statements(table, name, row)
        ),
    )


def _setting(table: _Table, column: str, revision: _Revision) -> Setting:
    """Return the column's setting. `local_fallback` matters only in ipvs mode."""
    network, mode = column.split("-")
    return Setting(
        mode=mode,
        network=network,
        profile=table.profile,
        policy=table.policy,
        local_fallback=revision.local_fallback or not load(mode).has_option("ipvs_local_fallback"),
    )


def _statements(table: _Table, revision: str, row: _Row) -> list[Statement]:
    count = len(table.columns)
    bases = (row.basis,) * count if isinstance(row.basis, str) else row.basis
    return [
        Statement(
            revision=revision,
            column=column,
            question=Question(row.service, row.client, row.target),
            expect=expect,
            basis=basis,
            unreproducible=table.reasons[row.because] if column in row.unreproducible else "",
        )
        for column, expect, basis in zip(table.columns, row.expect, bases, strict=True)
        if expect != SILENT
    ]
