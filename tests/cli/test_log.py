"""Verbosity and form of the log, and its last line."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kproxy.cli.log import JsonLines, ending_in_the_log, log_to_stderr
from kproxy.errors import BadInput, KernelRefused
from kproxy.proxy.control_loop import CHECKS

log = logging.getLogger("kproxy")


Begin = Callable[[int, str], None]


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Return what begins to log as a process does, whose root logger has no handler yet."""
    level = log.level

    def log_as_a_process(verbosity: int, form: str) -> None:
        monkeypatch.setattr(logging.getLogger(), "handlers", [])
        log_to_stderr(verbosity, form)

    yield log_as_a_process
    log.setLevel(level)


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [
        (0, ["info", "warning"]),
        (1, ["debug", "info", "warning"]),
        (2, ["debug", "info", "warning"]),
        (4, ["check", "debug", "info", "warning"]),
        (9, ["check", "debug", "info", "warning"]),
    ],
)
def test_verbosity(
    verbosity: int, shown: list[str], begin: Begin, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(verbosity, "text")
    log.log(CHECKS, "check")
    log.debug("debug")
    log.info("info")
    log.warning("warning")
    logging.getLogger("urllib3").info("of a library")
    assert [line.split()[-1] for line in capsys.readouterr().err.splitlines()] == shown


def test_json_lines(begin: Begin, capsys: pytest.CaptureFixture[str]) -> None:
    begin(4, "json")
    log.log(CHECKS, "check")
    log.debug("took %.1f s", 0.5)
    log.info('said "yes"\nand no')
    log.warning("careful")
    try:
        raise KernelRefused("no such table")
    except KernelRefused:
        log.exception("failed")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["level"], line.get("v"), line["msg"], line.get("err")) for line in lines] == [
        ("debug", 4, "check", None),
        ("debug", 1, "took 0.5 s", None),
        ("info", 0, 'said "yes"\nand no', None),
        ("warning", 0, "careful", None),
        ("error", None, "failed", "KernelRefused: no such table"),
    ]
    for line in lines:
        assert Path(line["caller"].rpartition(":")[0]).name == Path(__file__).name
        assert line["ts"] > 1e12  # milliseconds


def test_the_caller_is_a_path_within_kproxy() -> None:
    path = str(Path(logging.__file__).parent / "x.py")
    here = str(Path(__file__).parents[2] / "kproxy" / "proxy" / "x.py")
    shown = [
        json.loads(JsonLines().format(logging.LogRecord("kproxy", 20, each, 7, "", (), None)))
        for each in (here, path)
    ]
    assert [line["caller"] for line in shown] == ["proxy/x.py:7", f"{path}:7"]


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (BadInput(["one", "two"], remedy="three"), 2, "one; two (try: three)"),
        (KernelRefused("no"), 1, "no"),
    ],
)
def test_the_end_is_a_line_of_json_too(
    error: BadInput, status: int, text: str, begin: Begin, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(0, "json")
    with pytest.raises(SystemExit) as ended, ending_in_the_log():
        raise error
    assert ended.value.code == status
    assert json.loads(capsys.readouterr().err)["msg"] == text


def test_the_end_is_left_to_the_command_line_in_text(begin: Begin) -> None:
    begin(0, "text")
    with pytest.raises(BadInput), ending_in_the_log():
        raise BadInput(["one"])
