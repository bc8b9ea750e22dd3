"""The first process of a host's process namespace: it makes the file system and runs commands.

    python -I -S first_process.py SOCKET

Standard library only: it is started by file name, in the host's network namespace and as the first
process of a process namespace. So all its descendants end with it, and it ends when the other end
of the socket is closed: by its owner, or by the kernel with the owner.

The first message describes the surroundings (`set_up`), and is answered. Every other one starts a
command (`_Commands.start`) and comes with a socket for its answers: {"error": errno, "what": words}
or {"error": 0} with the master side of its terminal, if it has one; and when it has ended
{"status": n}, as in subprocess. The command and all of its session are killed if that socket is
closed before b"done" was sent.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import json
import os
import re
import select
import signal
import socket
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

LONGEST_MESSAGE = 1 << 18
_MOST_DESCRIPTORS = 4
DONE = b"done"

# linux/sched.h, linux/mount.h, linux/prctl.h, linux/capability.h
_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT = 1, 2, 4, 8, 32
_MS_BIND, _MS_REC, _MS_PRIVATE, _MNT_DETACH = 0x1000, 0x4000, 0x40000, 2
_MOUNT_SETATTR = 442  # the same on all architectures; Linux 5.12
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 1
_PR_CAPBSET_DROP = 24
_LAST_CAPABILITY = 63
# What containers have by default, without mknod, and what network tools and debuggers need: chown,
# dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_admin, net_raw,
# sys_chroot, sys_ptrace, audit_write, setfcap.
_KEPT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 12, 13, 18, 19, 29, 31})

_WRITABLE = ("/tmp", "/run", "/var/tmp", "/root")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
# As container runtimes do: github.com/opencontainers/runtime-spec, readonlyPaths and maskedPaths.
_READ_ONLY_PROC = ("bus", "fs", "irq", "sys", "sysrq-trigger")
_MASKED_PROC = ("kcore", "keys", "timer_list", "sched_debug")
_STAGE = "/tmp"
_TMPFS_SIZE = "512m"  # of each; pods must not eat up the machine's memory
_OCTAL = re.compile(rb"\\([0-7]{3})")  # as mountinfo writes spaces

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    owner = socket.socket(fileno=int(sys.argv[1]))
    owner.set_inheritable(False)
    message = owner.recv(LONGEST_MESSAGE)
    try:
        set_up(json.loads(message))
    except OSError as error:
        owner.send(json.dumps({"error": error.errno, "what": str(error.strerror)}).encode())
        return
    owner.send(json.dumps({"error": 0}).encode())
    _Commands(owner).run()


def receive(end: socket.socket) -> tuple[bytes, list[int]]:
    """Return a message and its descriptors, which no program inherits; b"" at the end.

    socket.recv_fds of Python 3.11 does not take flags, though it has a parameter for them.
    """
    descriptors = array.array("i")
    message, ancillary, _, _ = end.recvmsg(
        LONGEST_MESSAGE,
        socket.CMSG_SPACE(_MOST_DESCRIPTORS * descriptors.itemsize),
        socket.MSG_CMSG_CLOEXEC,
    )
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return message, list(descriptors)


def set_up(surroundings: dict[str, Any]) -> None:
    """Make the namespaces, and files in them: {"hostname", "files": {path: text}, "read_only"}.

    A file of /etc is mounted over the machine's, or by an overlay if there is none. Other files are
    written, below `_WRITABLE`. Raises OSError with words that tell what failed.
    """
    _call("make a mount namespace", _libc.unshare, _CLONE_NEWNS | _CLONE_NEWUTS | _CLONE_NEWIPC)
    socket.sethostname(surroundings["hostname"])
    files = surroundings["files"]
    _mount("", "/", flags=_MS_REC | _MS_PRIVATE)
    read_only = surroundings["read_only"]
    _forget(("/run", "/tmp", "/var/tmp", "/dev/pts") if read_only else ())
    if read_only:
        attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_RDONLY, 0, 0, 0)
        _call(
            "make the file system read-only",
            _libc.syscall,
            *(_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE),
            *(attributes, ctypes.sizeof(attributes)),
        )
    _mount("proc", "/proc", kind="proc", flags=_MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _cover_etc({each: text for each, text in files.items() if each.startswith("/etc/")})
    if read_only:
        _protect_proc()
        _make_devices()
        for folder in _WRITABLE:
            if os.path.isdir(folder):
                mode = "700" if folder == "/root" else "755" if folder == "/run" else "1777"
                _tmpfs(folder, mode)
        if not os.path.realpath("/var/run").startswith("/run"):
            _tmpfs("/var/run", "755")
        for folder in ("lock", "user"):
            os.makedirs(f"/run/{folder}", exist_ok=True)
        for path, text in files.items():
            if not path.startswith("/etc/"):
                _write(path, text)
    _mount("sysfs", "/sys", kind="sysfs", flags=_MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


class _Command(NamedTuple):
    """A running command. Its session has the number of its process."""

    process: int
    answers: socket.socket


class _Commands:
    """The commands that run, and the loop that serves them."""

    def __init__(self, owner: socket.socket) -> None:
        self._owner = owner
        self._by_descriptor: dict[int, _Command] = {}
        self._poll = select.poll()

    def run(self) -> None:
        """Serve until the owner's end of the socket is closed."""
        wakes, waker = os.pipe()
        os.set_blocking(waker, False)
        os.set_blocking(wakes, False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nobody in the host ends it
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        for descriptor in (self._owner.fileno(), wakes):
            self._poll.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == wakes:
                    with suppress(BlockingIOError):
                        os.read(wakes, 4096)
                    self._reap()
                elif descriptor == self._owner.fileno():
                    message, descriptors = receive(self._owner)
                    if not message:
                        return
                    self.start(json.loads(message), descriptors)
                elif descriptor in self._by_descriptor:
                    self._hear(self._by_descriptor[descriptor])

    def start(self, request: dict[str, Any], descriptors: Sequence[int]) -> None:
        """Start {"argv", "env", "cwd", "tty", "confined"}, with the streams behind the socket for
        answers. A command with a terminal has no other streams.
        """
        answers = socket.socket(fileno=descriptors[0])
        streams, masters = list(descriptors[1:]), []
        try:
            if request["tty"]:
                master, slave = os.openpty()
                streams, masters = [slave], [master]
            process = _spawn(request, streams)
            _answer(answers, {"error": 0}, *masters)
        except OSError as error:
            _answer(answers, {"error": error.errno, "what": error.strerror})
            answers.close()
            return
        finally:
            for each in (*streams, *masters):
                os.close(each)
        for former in [each for each in self._by_descriptor.values() if each.process == process]:
            self._forget(former)  # its session has ended: the number is given again
        self._by_descriptor[answers.fileno()] = _Command(process, answers)
        self._poll.register(answers.fileno(), select.POLLIN)

    def _reap(self) -> None:
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not process:
                return
            for each in self._by_descriptor.values():
                if each.process == process:
                    _answer(each.answers, {"status": os.waitstatus_to_exitcode(status)})

    def _hear(self, command: _Command) -> None:
        """Take what the owner says of a command: that it is done with it, or nothing more."""
        try:
            said = command.answers.recv(64)
        except OSError:
            said = b""
        self._forget(command)
        if said != DONE:
            _kill_session(command.process)

    def _forget(self, command: _Command) -> None:
        self._poll.unregister(command.answers)
        del self._by_descriptor[command.answers.fileno()]
        command.answers.close()


def _answer(answers: socket.socket, answer: dict[str, Any], *descriptors: int) -> None:
    with suppress(OSError):  # nobody waits for it any more
        socket.send_fds(answers, [json.dumps(answer).encode()], descriptors)


def _spawn(request: dict[str, Any], streams: Sequence[int]) -> int:
    """Start a program in a session of its own; return its process. Raises OSError if it cannot."""
    reads, writes = os.pipe()
    process = os.fork()
    if not process:
        os.close(reads)
        _become(request, streams, writes)
    os.close(writes)
    with os.fdopen(reads, "rb") as said:
        failure = said.read()
    if failure:
        os.waitpid(process, 0)
        number, _, words = failure.decode().partition(" ")
        raise OSError(int(number), words)
    return process


def _become(request: dict[str, Any], streams: Sequence[int], failure: int) -> NoReturn:
    """Become the program, in the forked process; the pipe `failure` is closed when it runs."""
    try:
        for each in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD):
            signal.signal(each, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.setsid()
        if request["tty"]:
            fcntl.ioctl(streams[0], termios.TIOCSCTTY, 0)
            streams = [streams[0]] * 3
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.chdir(request["cwd"])
        if request["confined"]:
            for capability in range(_LAST_CAPABILITY + 1):
                if capability not in _KEPT_CAPABILITIES:
                    _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # EINVAL: not of this kernel
        os.umask(0o022)
        os.execvpe(request["argv"][0], request["argv"], request["env"])
    except OSError as error:
        os.write(failure, f"{error.errno} {error.strerror}".encode())
    finally:
        os._exit(127)


def _kill_session(session: int) -> None:
    """Kill all processes of a session, until there are none."""
    while True:
        members = [each for each in _processes() if _session_of(each) == session]
        if not members:
            return
        for each in members:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)


def _processes() -> Iterator[int]:
    return (int(each) for each in os.listdir("/proc") if each.isdigit())


def _session_of(process: int) -> int:
    """Return the session of a process that has not ended; -1 otherwise."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            state, _, _, session = file.read().rpartition(b")")[2].split()[:4]
    except (OSError, ValueError):
        return -1
    return -1 if state in b"ZX" else int(session)


def _forget(covered: Sequence[str]) -> None:
    """Unmount what nobody shall see or keep here: all below `covered`, and others' namespaces.

    A namespace that is mounted here would live as long as this process.
    """
    with open("/proc/self/mountinfo", "rb") as file:
        mounts = [line.split() for line in file]
    for fields in reversed(mounts):
        path = _OCTAL.sub(lambda found: bytes([int(found[1], 8)]), fields[4])
        kind = fields[fields.index(b"-") + 1]
        if kind == b"nsfs" or any(path.startswith(os.fsencode(f"{each}/")) for each in covered):
            _libc.umount2(path, _MNT_DETACH)  # a parent may have taken it along


def _cover_etc(files: dict[str, str]) -> None:
    _tmpfs(_STAGE, "755")
    for path, text in files.items():
        _write(f"{_STAGE}/{os.path.basename(path)}", text)
    if all(map(os.path.exists, files)):
        for path in files:
            _mount(f"{_STAGE}/{os.path.basename(path)}", path, flags=_MS_BIND)
    else:
        _mount("overlay", "/etc", kind="overlay", data=f"lowerdir={_STAGE}:/etc")
    _call(f"unmount {_STAGE}", _libc.umount2, os.fsencode(_STAGE), _MNT_DETACH)


def _protect_proc() -> None:
    for name in _READ_ONLY_PROC:
        if os.path.exists(path := f"/proc/{name}"):
            _mount(path, path, flags=_MS_BIND)
            flags = _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
            _mount("", path, flags=flags)
    for name in _MASKED_PROC:
        if os.path.exists(path := f"/proc/{name}"):
            _mount("/dev/null", path, flags=_MS_BIND)


def _make_devices() -> None:
    """Replace /dev by the devices of a container, with terminals of its own."""
    _tmpfs(_STAGE, "755")
    for name in _DEVICES:
        open(f"{_STAGE}/{name}", "wb").close()
        _mount(f"/dev/{name}", f"{_STAGE}/{name}", flags=_MS_BIND)
    for name in ("pts", "shm"):
        os.mkdir(f"{_STAGE}/{name}")
    _mount("devpts", f"{_STAGE}/pts", kind="devpts", data="newinstance,ptmxmode=0666,mode=620")
    _tmpfs(f"{_STAGE}/shm", "1777")
    for name, target in {**_LINKS, "ptmx": "pts/ptmx"}.items():
        os.symlink(target, f"{_STAGE}/{name}")
    _mount(_STAGE, "/dev", flags=_MS_BIND | _MS_REC)
    _call(f"unmount {_STAGE}", _libc.umount2, os.fsencode(_STAGE), _MNT_DETACH)


def _tmpfs(path: str, mode: str) -> None:
    _mount(
        "tmpfs",
        path,
        kind="tmpfs",
        flags=_MS_NOSUID | _MS_NODEV,
        data=f"mode={mode},size={_TMPFS_SIZE}",
    )


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)


def _mount(source: str, target: str, *, kind: str = "", flags: int = 0, data: str = "") -> None:
    _call(
        f"mount {source or 'with other flags'} at {target}",
        _libc.mount,
        *(source.encode(), os.fsencode(target), kind.encode()),
        *(ctypes.c_ulong(flags), data.encode() or None),
    )


def _call(what: str, function: Any, *arguments: object) -> None:
    """Call a function of libc. Raises OSError with its reason and `what` it was for."""
    if function(*arguments) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot {what}: {os.strerror(code or errno.EIO)}")


if __name__ == "__main__":
    main()
