"""Manifests in files and folders.

Each file is judged by itself: an invalid version leaves that file's last good version in force and
does not delay the others. The objects of a file that disappears from a folder are removed; those of
a file that was named explicitly stay in force, and its absence is reported. That no Service is left
at all is for the receiver to judge.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event as Flag

from kproxy.api.manifests import SUFFIXES, Decoded, decode_texts, manifest_files
from kproxy.proxy.events import Event, Objects, Rejected
from kproxy.sources.last_good import LastGood

POLL_INTERVAL_S = 1.0  # for changes that the kernel does not report: network file systems ...
SETTLE_MS = 100  # a file that is being written is not read for this long

Stamp = tuple[int, int, int]  # inode, size, time of change in ns

log = logging.getLogger("kproxy")


class Manifests:
    """Reads and watches the files and folders in `paths`."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = tuple(Path(path) for path in paths)
        self._last_good = LastGood(decode_texts)
        self._stamps: dict[Path, Stamp | None] = {}
        self._texts: dict[Path, bytes] = {}
        self._rejected: dict[str, list[Stamp | None]] = {}  # what was reported last, by problem

    def read(self) -> Decoded:
        """Read all files; return their objects and all problems, of which a start allows none."""
        self._stamps = self._look()  # before reading: later changes are seen next time
        texts: dict[Path, bytes] = {}
        problems = []
        for file in self._stamps:
            try:
                texts[file] = file.read_bytes()
            except OSError as error:
                problems.append(f"{file}: {_reason(error)}")
                texts |= self._former(file)
        self._texts = texts
        decoded = self._last_good.take({str(file): text for file, text in texts.items()})
        empty = [
            f"{path}: no manifest in this folder ({', '.join(SUFFIXES)})"
            for path in self._paths
            if not _files(path)
        ]
        return Decoded(decoded.objects, (*problems, *decoded.problems), (*empty, *decoded.notices))

    def poll(self) -> list[Event]:
        """Return the events since the last `read` or `poll`. Files are read only if one changed.

        An invalid version is reported once, however often other files change.
        """
        if self._look() == self._stamps:
            return []
        decoded = self.read()
        events: list[Event] = [Objects(decoded.objects)]
        rejected = {
            problem: [self._stamps[file] for file in self._stamps if problem.startswith(f"{file}:")]
            for problem in decoded.problems
        }
        if rejected and rejected != self._rejected:
            events.append(Rejected(decoded.problems))
        self._rejected = rejected
        return events

    def watch(self, send: Callable[[Event], None], stopped: Flag) -> None:
        """Send the events of `poll`, soon after each change, until `stopped` is set."""
        for _ in self._moments(stopped):
            for event in self.poll():
                send(event)

    def _moments(self, stopped: Flag) -> Iterator[object]:
        """Yield whenever a file may have changed."""
        from watchfiles import watch  # 20 ms that `--once` need not spend

        # A file's folder, not the file: editors and ConfigMaps put another file in its place.
        folders = {path if path.is_dir() else path.parent for path in self._paths}
        yield None
        try:
            yield from watch(
                *folders,
                watch_filter=None,
                debounce=SETTLE_MS,
                rust_timeout=int(POLL_INTERVAL_S * 1000),
                yield_on_timeout=True,
                stop_event=stopped,
                recursive=False,
            )
        except OSError as error:
            log.warning(
                "cannot watch the manifests, checking them every %g s: %s", POLL_INTERVAL_S, error
            )
            while not stopped.wait(POLL_INTERVAL_S):
                yield None

    def _look(self) -> dict[Path, Stamp | None]:
        return {file: _stamp(file) for path in self._paths for file in _files(path)}

    def _former(self, path: Path) -> dict[Path, bytes]:
        """Return what was read last from a file, or from the files of what was then a folder."""
        return {file: text for file, text in self._texts.items() if path in (file, *file.parents)}


def _files(path: Path) -> list[Path]:
    """Return the manifests of a folder by name, or the file itself, even if it does not exist."""
    try:
        return manifest_files(path) if path.is_dir() else [path]
    except OSError:  # reading it will report the error
        return [path]


def _stamp(file: Path) -> Stamp | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    return error.strerror or str(error)
