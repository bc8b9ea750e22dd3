"""The differences between two modes that concern one Service. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from kproxy.api.types import KubernetesObject
from kproxy.config.decode import Read
from kproxy.rules.paper import Paper
from kproxy.upgrade.modes import mode_differences
from kproxy.upgrade.side import Configured, Side


class Effect(Struct, frozen=True, kw_only=True):
    """Something that two modes do differently: in words, and what each of them does."""

    what: str
    before: str
    after: str


def effects(
    objects: Sequence[KubernetesObject], before: Paper, after: Paper, service: str
) -> list[Effect]:
    """Return the documented differences that apply to a Service, `namespace/name`.

    Between variants of one mode there is none: they do the same in other rules.
    """
    sides = [_side(each) for each in (before, after)]
    return [
        Effect(what=each.what, before=each.before, after=each.after)
        for each in mode_differences(objects, *sides)
        if service in each.services
    ]


def _side(paper: Paper) -> Configured:
    return Configured(
        side=Side(version=paper.config.emulate, mode=paper.mode.name),
        read=Read(paper.config, ()),
        mode=paper.mode,
        options=paper.options,
    )
