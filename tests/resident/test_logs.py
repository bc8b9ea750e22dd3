"""A log does not grow, and whoever follows it misses nothing of what stays."""

from __future__ import annotations

import os
from pathlib import Path

from kproxy.resident import logs


def test_only_the_end_of_a_long_log_stays(tmp_path: Path) -> None:
    path = tmp_path / "log"
    descriptor = logs.open_log(path)
    os.write(descriptor, b"".join(b"line %d\n" % number for number in range(200_000)))
    assert path.stat().st_size > logs.MOST_BYTES
    logs.trim(path)
    os.write(descriptor, b"after\n")
    os.close(descriptor)
    lines = path.read_bytes().splitlines()
    assert path.stat().st_size < logs.MOST_BYTES
    assert lines[-2:] == [b"line 199999", b"after"]
    assert lines[0].startswith(b"line 1")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_short_log_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("a\nb\n")
    logs.trim(path)
    assert path.read_text() == "a\nb\n"


def test_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("a\nb\nc\n")
    assert logs.last_lines(path, 2) == (b"b\nc\n", 6)
    assert logs.last_lines(path, 0) == (b"", 6)
    assert logs.last_lines(path, 9) == logs.last_lines(path, None) == (b"a\nb\nc\n", 6)


def test_following_goes_on_after_a_trim_and_ends_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("long enough\n")
    follower = logs.follow(path, 5)
    assert next(follower) == b"enough\n"
    path.write_text("new\n")
    assert next(follower) == b"new\n"
    with path.open("a") as file:
        file.write("last\n")
    path.unlink()
    assert [*follower] == [b"last\n"]
