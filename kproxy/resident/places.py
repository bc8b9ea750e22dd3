"""The places of labs: a directory for each under the state root, which a living lab has locked.

The root is /run/kproxy, or for other users than root $XDG_RUNTIME_DIR/kproxy or
~/.local/state/kproxy. The lock is one of the kernel (flock) on the directory itself. The kernel
takes it back when the last process that holds it has ended, however that happens; so a lab lives if
and only if its directory is locked, whatever has become of its pid.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from kproxy.errors import BadInput, TimedOut, Unsupported
from kproxy.resident.logs import LOG, open_log, trim

SHARED = Path("/run/kproxy")
DEFAULT_NAME = "lab"
_RESERVED = {"labs"}  # kproxy.lab.leftovers has its records there
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LOOK_AGAIN_S = 0.02


def state_root(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of all places of this user. It need not exist."""
    if os.geteuid() == 0:
        return SHARED
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        return Path(runtime, "kproxy")
    return Path(environment.get("HOME", "/"), ".local", "state", "kproxy")


def name_problem(name: str) -> str:
    """Return why a lab cannot have that name, or ""."""
    if name in _RESERVED:
        return f"{name!r} is reserved: a lab needs another name"
    if not _NAME.fullmatch(name):
        return f"{name!r} cannot be the name of a lab: 1 to 63 of a-z, 0-9 and '-', as a DNS label"
    return ""


def place_of(name: str) -> Path:
    """Return the directory of the lab of that name. Raises BadInput for what is no name."""
    if problem := name_problem(name):
        raise BadInput([problem])
    return state_root() / name


class Claim:
    """A place that this process has locked. The lock is shared with the children it forks."""

    def __init__(self, name: str, path: Path, descriptor: int) -> None:
        self.name, self.path, self._descriptor = name, path, descriptor

    def fileno(self) -> int:
        return self._descriptor

    def is_there(self) -> bool:
        """Tell whether the place is still there: somebody may have removed the directory, and
        another lab may have made one of that name.
        """
        try:
            there = os.lstat(self.path)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))

    def empty(self) -> None:
        """Remove what a lab has left in the place. The log, by which it is known, stays, empty."""
        for each in self.path.iterdir():
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            elif each.name != LOG:
                each.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            os.truncate(self.path / LOG, 0)

    def trim_logs(self) -> None:
        """Keep the logs of the place short."""
        for path in self.path.glob("*log"):
            trim(path)

    def remove(self) -> None:
        """Remove the place with all that is in it, and the root if it is empty then.

        Harmless when repeated: another lab may have a place of that name by now.
        """
        if self._descriptor < 0:
            return
        if self.is_there():
            self.empty()
            (self.path / LOG).unlink(missing_ok=True)
            self.path.rmdir()
        with suppress(OSError):  # others are in it
            self.path.parent.rmdir()
        self.close()

    def close(self) -> None:
        """Give up our part of the lock. Harmless when repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def claim(name: str) -> Claim | None:
    """Create and lock a place, or lock that of a dead lab, with what is left in it.

    Returns None if another process has it. Raises BadInput for what is no name, Unsupported if
    there cannot be a place.
    """
    path = place_of(name)
    while True:
        try:
            mode = 0o755 if path.parent == SHARED else 0o700
            path.parent.mkdir(mode=mode, parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
        except FileNotFoundError:  # another lab ended and removed the empty folder
            continue
        except OSError as error:
            raise Unsupported(f"cannot make {path}: {error.strerror}") from None
        found = _lock(name, path)
        if path.is_symlink() or (found and not is_ours(path)):
            raise Unsupported(f"{path} is there, but no lab has made it")
        if found:
            _begin_log(found)
        if found or is_living(name):
            return found


def _begin_log(place: Claim) -> None:
    """Make the file by which a lab's place is known."""
    path = place.path / LOG
    try:
        os.close(open_log(path))
    except OSError as error:
        place.remove()
        raise Unsupported(f"cannot write {path}: {error.strerror}") from None


def claim_dead(name: str) -> Claim | None:
    """Lock the place of a dead lab; return None if there is none, or if the lab lives."""
    path = place_of(name)
    while is_ours(path):
        found = _lock(name, path)
        if found or is_living(name):
            return found
    return None


def is_ours(path: Path) -> bool:
    """Tell whether a lab of this user has made a path: a private directory, which is empty or has a
    lab's log, its first file.
    """
    try:
        found = os.lstat(path)
        private = found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077
        return stat.S_ISDIR(found.st_mode) and private and LOG in (os.listdir(path) or [LOG])
    except FileNotFoundError:
        return False


def is_living(name: str) -> bool:
    """Tell whether a process has locked the place of that name."""
    try:
        descriptor = _open(place_of(name))
    except OSError:
        return False
    try:
        # Shared: two that only look do not take each other for the lab.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def await_end(name: str, timeout_s: float) -> None:
    """Return when no process has the place any more. Raises TimedOut."""
    end = time.monotonic() + timeout_s
    while is_living(name):
        if time.monotonic() >= end:
            raise TimedOut(f"lab {name} still runs after {timeout_s:g} s")
        time.sleep(_LOOK_AGAIN_S)


def names() -> list[str]:
    """Return the names of all places, of living and of dead labs."""
    try:
        found = sorted(each.name for each in state_root().iterdir() if is_ours(each))
    except (FileNotFoundError, PermissionError):
        return []
    return [name for name in found if not name_problem(name)]


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, all at once: readers see the former or this one.

    Only a file is replaced: no symbolic link is followed, no device removed. Raises Unsupported.
    """
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise Unsupported(f"cannot write {path}: there is something that is no regular file")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(unfinished, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(unfinished, path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise Unsupported(f"cannot write {path}: {error.strerror}") from None


def _lock(name: str, path: Path) -> Claim | None:
    """Lock a place that exists. None if another process has it, or if it is gone."""
    try:
        descriptor = _open(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise Unsupported(f"{path} belongs to another user") from None
    with ExitStack() as undo:
        undo.callback(os.close, descriptor)
        claim = Claim(name, path, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        if not claim.is_there():  # removed meanwhile, or made again by another process
            return None
        undo.pop_all()
    return claim


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
