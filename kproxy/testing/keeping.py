"""Labs whose test has failed: they are described, and may be kept.

a test fails ── sections ──> its report
            └── KeptLabs ──> the lab stays; after pytest's summary, until somebody ends it
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from queue import SimpleQueue

import pytest

from kproxy.errors import KproxyError
from kproxy.testing.lab import LabFactory, ProbedLab
from kproxy.testing.lab_report import report


def sections(factories: Iterable[LabFactory]) -> list[tuple[str, str]]:
    """Return a section of pytest's report for each lab."""
    return [
        (f"kproxy lab: {_summary(lab)}", text)
        for factory in factories
        for lab in factory.labs
        if (text := _text(lab))
    ]


def refusal(config: pytest.Config) -> str | None:
    """Return why no lab is kept whatever happens; None if one can be.

    Nobody could end the wait without a terminal. Workers of pytest-xdist have none, and the summary
    comes after they have ended.
    """
    if hasattr(config, "workerinput") or config.pluginmanager.hasplugin("dsession"):
        return "no lab is kept in the processes of pytest-xdist: run the test again with -n 0"
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return "no lab is kept without a terminal: nobody could end the wait"
    return None


def why_none(config: pytest.Config) -> list[str]:
    """Return what to say if no lab was kept: nothing if no test with a lab has failed."""
    refused = refusal(config)
    return [refused] if refused else []


class KeptLabs:
    """The labs of the first test that failed."""

    def __init__(self) -> None:
        self._test = ""
        self._problem = ""
        self._labs: list[ProbedLab] = []
        self._ended: SimpleQueue[ProbedLab] = SimpleQueue()

    def keep(self, test: str, factories: Iterable[LabFactory]) -> None:
        """Take a test's labs from those that would remove them, unless a test has failed before."""
        labs = [(factory, lab) for factory in factories for lab in factory.labs]
        if self._test or not labs:
            return
        self._test = test
        try:
            for factory, lab in labs:
                lab.register()
                factory.release(lab)
                self._labs.append(lab)
        except KproxyError as error:  # the tests are worth more
            self._problem = f"a lab cannot be kept: {error}; {error.remedy}".rstrip("; ")

    def lines(self) -> list[str]:
        """Return how to enter the labs."""
        found = [f"{self._test} has failed; its labs are as the fixtures have left them"]
        for lab in self._labs:
            place = lab.register()
            name = place.place.name
            first = next(iter(lab.hosts))
            found += ["", f"{name}: {_summary(lab)}", f"  hosts: {' '.join(lab.hosts)}"]
            found.append(f"  kproxy shell --lab {name} {first}")
            if lab.spec.control_plane:
                found.append(f"  export KUBECONFIG={place.kubeconfig}")
        return [*found, *([self._problem] if self._problem else [])]

    def await_end(self, say: Callable[[str], None]) -> None:
        """Return when all labs are ended: by `kproxy down`, or all at once by an interrupt.

        `say` is told so once both have that meaning.
        """
        if not self._labs:
            return
        try:
            places = [lab.register() for lab in self._labs]
            for lab, place in zip(self._labs, places, strict=True):
                place.keep(partial(self._ended.put, lab))
            ends = " and ".join(f"kproxy down {each.place.name}" for each in places)
            say(f"pytest runs on, and the labs with it, until: {ends}, or Ctrl-C")
            while self._labs:
                lab = self._ended.get()
                if lab in self._labs:
                    self._labs.remove(lab)
                    lab.__exit__(None, None, None)
        except KeyboardInterrupt:  # one of the two ways to end it
            pass
        finally:
            while self._labs:
                self._labs.pop().__exit__(None, None, None)


def _summary(lab: ProbedLab) -> str:
    mode = f"{lab.mode} mode" if lab.mode else "no proxies"
    return f"{mode}, {', '.join(lab.nodes)}"


def _text(lab: ProbedLab) -> str:
    if lab.journal is None:
        return ""
    try:
        return report(lab.journal.documents(), lab.journal.changes(), datetime.now(UTC))
    except Exception as error:  # whatever it is, the report of the test is worth more
        return f"the lab cannot be described: {type(error).__name__}: {error}"
