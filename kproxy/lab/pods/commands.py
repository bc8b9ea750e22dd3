"""Commands that run in a host of a lab, with streams that the caller holds.

All commands of a host share namespaces of mounts, processes, the host name and IPC. They are made
at the first command and kept as long as the host, so what a command writes to /tmp is there for the
next one, and what it leaves in the background runs on. One process per host holds them
(`first_process`): when it ends, so does all that runs there. It ends with us, however that happens.

In a pod the machine's file system is read-only; /tmp, /run, /var/tmp, /root and /dev/shm are
the pod's own and writable, and a command may not change mounts, load modules or set the clock.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from types import MappingProxyType
from typing import Any, NamedTuple

from kproxy.errors import BadInput, KernelRefused, Unsupported
from kproxy.kernel.netns import Namespace
from kproxy.lab.pods import first_process

_CLONE_NEWPID = 0x20000000  # linux/sched.h
_END_S = 10

_libc = ctypes.CDLL(None, use_errno=True)


class Surroundings(NamedTuple):
    """The files and the name that commands find in a host.

    `files`: path -> text, all of /etc, and in addition below /run if `protected`. `protected`: the
    machine's file system is read-only, and commands are confined, as in a pod.
    """

    hostname: str
    files: Mapping[str, str]
    protected: bool = True


class Command:
    """A running command. Its descriptors do not block; they belong to this object.

    `stdin`, `stdout` and `stderr` are -1 if it has none of ours. With a terminal, `stdin` and
    `stdout` are that, and reading fails with EIO at its end.
    """

    def __init__(self, answers: socket.socket, stdin: int, stdout: int, stderr: int) -> None:
        """Take over the socket and the descriptors."""
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self._answers = answers
        self._status: int | None = None
        for each in self._streams():
            os.set_blocking(each, False)

    def fileno(self) -> int:
        """Return a descriptor that can be read as soon as the command has ended."""
        return self._answers.fileno()

    def status(self) -> int:
        """Return its exit status, waiting for it; 128 and the number of a signal that killed it."""
        if self._status is None:
            try:
                said = self._answers.recv(first_process.LONGEST_MESSAGE)
            except ConnectionResetError:
                said = b""
            code = json.loads(said)["status"] if said else -9  # the host has ended, and all with it
            self._status = code if code >= 0 else 128 - code
        return self._status

    def resize(self, columns: int, rows: int) -> None:
        """Tell its terminal its size; harmless without a terminal. Numbers above 65535 are cut."""
        size = struct.pack("HHHH", min(rows, 0xFFFF), min(columns, 0xFFFF), 0, 0)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self.stdout, termios.TIOCSWINSZ, size)

    def close_stdin(self) -> None:
        """Let it read the end of its input. Harmless when repeated."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close(self) -> None:
        """Give up the streams. If it has not ended by then, or its status was not asked for, it is
        killed with all of its session; else what it has left in the background runs on.
        """
        if self._status is not None:
            with contextlib.suppress(OSError):
                self._answers.send(first_process.DONE)
        self._answers.close()
        for each in self._streams():
            os.close(each)
        self.stdin = self.stdout = self.stderr = -1

    def _streams(self) -> Iterator[int]:
        return (each for each in (self.stdin, self.stdout, self.stderr) if each >= 0)


class HostCommands:
    """The commands of one host. Any thread may use it."""

    def __init__(self, name: str, namespace: Namespace, surroundings: Surroundings) -> None:
        """Start nothing yet. `name` is for messages; the namespace stays the caller's."""
        if not surroundings.protected and any(
            not path.startswith("/etc/") for path in surroundings.files
        ):
            raise ValueError("only a protected host has files outside /etc")
        self._name = name
        self.namespace = namespace
        self._surroundings = surroundings
        self._mutex = threading.Lock()
        self._first: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._closed = False

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] = MappingProxyType({}),
        folder: str = "/",
        stdin: bool = False,
        stderr: bool = True,
        tty: bool = False,
    ) -> Command:
        """Start a program, found by the PATH of `env`. Without `stdin` its input is empty.

        Raises BadInput if there is no such program or folder, or the host has ended; Unsupported
        and KernelRefused if the machine does not allow these namespaces.
        """
        request = {
            "argv": list(argv),
            "env": dict(env),
            "cwd": folder,
            "tty": tty,
            "confined": self._surroundings.protected,
        }
        message = json.dumps(request).encode("utf-8", "surrogateescape")
        if len(message) >= first_process.LONGEST_MESSAGE:
            raise BadInput([f"the command for {self._name} is too long"])
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            answers, far_end = _socketpair()
            ours.callback(answers.close)
            theirs.callback(far_end.close)
            mine, passed = [-1, -1, -1], [far_end.fileno()]
            if not tty:
                for number, wanted in enumerate((stdin, True, stderr)):
                    mine[number], end = _stream(ours, theirs, number, wanted=wanted)
                    passed.append(end)
            with self._mutex:
                first = self._running()
                try:
                    socket.send_fds(first, [message], passed)
                except OSError:
                    raise BadInput([f"{self._name} does not run any more"]) from None
            theirs.close()
            answer, received = _receive(answers)
            if number := answer["error"]:
                raise BadInput([_complaint(argv[0], number, str(answer["what"]))])
            if tty:
                mine[:2] = received[0], received[0]
                ours.callback(os.close, received[0])
                mine[0] = os.dup(received[0])
            ours.pop_all()
        return Command(answers, *mine)

    def close(self) -> None:
        """End all commands of the host. Harmless when repeated."""
        with self._mutex:
            self._closed = True
            first, self._first = self._first, None
        if first:
            process, owner = first
            owner.close()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _running(self) -> socket.socket:
        """Return the socket of the first process, which is started if it does not run."""
        if self._closed:
            raise BadInput([f"{self._name} does not run any more"])
        if self._first and self._first[0].poll() is not None:  # killed from outside
            self._first[1].close()
            self._first = None
        if not self._first:
            self._first = self._launch()
        return self._first[1]

    def _launch(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        owner, far_end = _socketpair()
        with contextlib.ExitStack() as undo:
            undo.callback(owner.close)
            try:
                # In a thread of its own: its children are in another namespace from now on.
                process = _in_thread(lambda: self._start_first(far_end))
            finally:
                far_end.close()
            undo.callback(process.wait)
            undo.callback(process.kill)
            surroundings = self._surroundings
            message = {
                "hostname": surroundings.hostname,
                "files": dict(surroundings.files),
                "read_only": surroundings.protected,
            }
            try:
                owner.send(json.dumps(message).encode())
                answer, _ = _receive(owner)
            except OSError as error:
                raise KernelRefused(f"no commands in {self._name}: {error.strerror}") from None
            if answer["error"]:
                raise _refused(self._name, answer["error"], answer["what"])
            undo.pop_all()
        return process, owner

    def _start_first(self, far_end: socket.socket) -> subprocess.Popen[bytes]:
        try:
            self.namespace.fileno()
        except ValueError:
            raise BadInput([f"{self._name} does not run any more"]) from None
        if _libc.unshare(_CLONE_NEWPID):
            code = ctypes.get_errno()
            raise _refused(
                self._name, code, f"cannot make a process namespace: {os.strerror(code)}"
            )
        with self.namespace.entered():
            return subprocess.Popen(
                [sys.executable, "-I", "-S", first_process.__file__, str(far_end.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[far_end.fileno()],
                process_group=0,  # Ctrl-C is for us
                cwd="/",
                env={},
            )


class CommandHosts:
    """The commands of the pods that run now, by the names of their hosts. Any thread may use it."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._hosts: dict[str, HostCommands] = {}

    def of(
        self, name: str, namespace: Namespace, surroundings: Callable[[], Surroundings]
    ) -> HostCommands:
        """Return the commands of a host, made if there were none yet in its namespace."""
        with self._mutex:
            host = self._hosts.get(name)
            if host is None or host.namespace is not namespace:
                if host:
                    host.close()
                host = self._hosts[name] = HostCommands(name, namespace, surroundings())
            return host

    def end(self, *names: str) -> None:
        """End the commands of hosts that end."""
        with self._mutex:
            ended = [self._hosts.pop(name) for name in names if name in self._hosts]
        for host in ended:
            host.close()

    def close(self) -> None:
        """End all commands."""
        self.end(*self._hosts)


def _in_thread(task: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    done: Future[subprocess.Popen[bytes]] = Future()

    def run() -> None:
        try:
            done.set_result(task())
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=run, name="kproxy-commands")
    thread.start()
    thread.join()
    return done.result()


def _stream(
    ours: contextlib.ExitStack, theirs: contextlib.ExitStack, number: int, *, wanted: bool
) -> tuple[int, int]:
    """Return our and the command's end of a standard stream; ours is -1 if it is not wanted."""
    if not wanted:
        end = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        theirs.callback(os.close, end)
        return -1, end
    reads, writes = os.pipe()
    mine, end = (writes, reads) if number == 0 else (reads, writes)
    ours.callback(os.close, mine)
    theirs.callback(os.close, end)
    return mine, end


def _socketpair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # keeps messages apart


def _receive(end: socket.socket) -> tuple[dict[str, Any], list[int]]:
    message, descriptors = first_process.receive(end)
    if not message:
        raise ConnectionResetError(errno.ECONNRESET, "its first process has ended")
    return json.loads(message), descriptors


def _complaint(program: str, number: int, words: str) -> str:
    """Return what container runtimes say of a program that cannot be started."""
    if number == errno.ENOENT and "/" not in program:
        words = "executable file not found in $PATH"
    return f'exec: "{program}": {words[:1].lower()}{words[1:]}'


def _refused(name: str, code: int, what: str) -> Unsupported | KernelRefused:
    message = f"no commands in {name}: {what}"
    if code in (errno.EPERM, errno.EACCES):
        return Unsupported(message, remedy="run as root; in a container with --privileged")
    if code == errno.ENOSYS:
        return Unsupported(message, remedy="Linux 5.12 or later")
    return KernelRefused(message)
