"""How a broken rule is told: the rule first, then what was seen."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from kproxy.address import Family
from kproxy.backend.contract import Backend, SyncReport
from kproxy.errors import KernelRefused, Unsupported
from kproxy.forwarding.plan import Plan
from kproxy.testing.backend_contract.bench import copy, delta_between
from kproxy.testing.backend_contract.subject import Subject

_T = TypeVar("_T")
_MOST_LINES = 20  # of a difference


def refused(subject: Subject, family: Family, backend: Backend, before: Plan, after: Plan) -> None:
    refuse = given(subject.refuse, "refuse")
    with refuse(family, before, after):
        try:
            backend.sync(copy(after), delta_between(before, after))
        except (KernelRefused, Unsupported, OSError):
            return
    pytest.fail(f"{family.value}: Subject.refuse did not make sync() fail: give another one")


def given(value: _T | None, name: str) -> _T:
    if value is None:
        pytest.fail(
            f"nothing was tested, for Subject.{name} is not given: {name}=... of the fixture "
            f"`subject`; help(Subject) says what it does"
        )
    return value


def reported(report: SyncReport, *, full: bool = False) -> None:
    rule = "a report tells whether all was written, how much, and when to call again"
    if full and not report.full:
        broken(rule, "a full sync says that it was none")
    if (
        report.transactions < 0
        or report.again_in_s < 0
        or any(not isinstance(count, int) or count < 0 for count in report.rules_written.values())
    ):
        broken(rule, str(report))


def read_empty(rule: str, backend: Backend) -> None:
    found = backend.read()
    if any(found.values()):
        broken(rule, f"read() returned\n{differences({}, found)}")


def same(rule: str, expected: object, found: object, when: str = "") -> None:
    __tracebackhide__ = True
    if expected != found:
        broken(rule, f"{when or 'a difference'}\n{differences(expected, found)}")


def broken(rule: str, seen: str, cause: BaseException | None = None) -> NoReturn:
    __tracebackhide__ = True
    raise pytest.fail.Exception(f"the contract says: {rule}\nseen: {seen}") from cause


def descriptors() -> dict[str, str]:
    found = {}
    for path in Path("/proc/self/fd").iterdir():
        try:
            found[path.name] = os.readlink(path)
        except FileNotFoundError:  # the one that reads the folder
            continue
    return found


def differences(expected: object, found: object, where: str = "") -> str:
    """Return what is missing (-) and what is there instead (+), "" for equal values."""
    lines = list(_differences(expected, found, where)) if expected != found else []
    more = [f"... and {len(lines) - _MOST_LINES} lines more"] if len(lines) > _MOST_LINES else []
    return "\n".join(lines[:_MOST_LINES] + more)


def _differences(expected: object, found: object, where: str) -> Iterator[str]:
    match expected, found:
        case Mapping(), Mapping():
            for key in dict.fromkeys((*expected, *found)):
                if expected.get(key) != found.get(key):
                    inside = f"{where} > {key}" if where else str(key)
                    yield from _differences(expected.get(key), found.get(key), inside)
            return
        case str(), str():
            expected, found = tuple(expected.splitlines()), tuple(found.splitlines())
        case (Mapping(), None) | (None, Mapping()):
            yield from _differences(expected or {}, found or {}, where)
            return
    yield f"  {where}:" if where else "  "
    former = expected if isinstance(expected, tuple) else (expected,) if expected else ()
    present = found if isinstance(found, tuple) else (found,) if found else ()
    lost = [each for each in former if each not in present]
    more = [each for each in present if each not in former]
    yield from (f"  - {each}" for each in lost)
    yield from (f"  + {each}" for each in more)
    if not lost + more:
        yield "  the same in another order"
