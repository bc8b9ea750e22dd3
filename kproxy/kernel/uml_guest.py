"""What runs inside a user-mode Linux guest: its init, the first process, and its only purpose.

Sets up a machine around the root file system it shares with its host, loads what a service proxy
needs, runs one command, and powers off. It is spoken to over a serial line, in frames: a letter, a
length, that many bytes. Standard library only: it is started by file name, without site-packages.

    to the guest    J  what to run (JSON, once)      I  standard input, empty at its end
                    S  a signal for the command      W  window size: rows and columns
    to the host     R  ready: before, the line swallows what it is told
                    O  standard output               E  standard error
                    X  exit status: the last frame   F  it could not be started: why
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import pty
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HEAD = struct.Struct(">cI")
_CHUNK = 1 << 14
_LINE = "/dev/ttyS0"
_OWN = Path("/run/kproxy")  # on a tmpfs of the guest
_UML_MODULES = Path("/usr/lib/uml/modules")
_LAST_WORDS_S = 0.3  # for output of processes that outlive the command
_POWER_OFF = 0x4321FEDC

# Those that a kernel lacks are not missed: whoever needs one is told when using it.
_MODULES = (
    *("ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_lc", "ip_vs_wlc", "ip_vs_lblc", "ip_vs_lblcr"),
    *("ip_vs_dh", "ip_vs_sh", "ip_vs_sed", "ip_vs_nq", "ip_vs_fo", "ip_vs_ovf", "ip_vs_mh"),
    *("dummy", "veth", "bridge", "br_netfilter", "vxlan", "macvlan", "sch_netem", "sctp"),
    *("iptable_nat", "iptable_filter", "iptable_mangle", "iptable_raw"),
    *("ip6table_nat", "ip6table_filter", "ip6table_mangle", "ip6table_raw"),
    *("ip_set", "xt_set", "xt_ipvs", "xt_physdev", "nfnetlink_acct", "xt_nfacct"),
    *("nf_conntrack_netlink", "nf_conntrack"),
)


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    return _HEAD.pack(kind, len(payload)) + payload


class Frames:
    """Puts frames together again from what comes in pieces."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Kind and payload of each frame that is complete now."""
        self._data += data
        while len(self._data) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._data)
            end = _HEAD.size + length
            if len(self._data) < end:
                return
            payload, self._data = self._data[_HEAD.size : end], self._data[end:]
            yield kind, payload


def main() -> None:
    _set_up_machine()
    line = os.open(_LINE, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    tty.setraw(line)
    _write(line, frame(b"R"))
    try:
        frames = Frames()
        early: list[tuple[bytes, bytes]] = []
        while not early:
            early += frames.feed(os.read(line, _CHUNK))
        (_, text), *early = early
        job = json.loads(text)
        _prepare(job)
        try:
            command = _Command(line, frames, job)
        except OSError as error:  # as a shell says it
            _write(line, frame(b"E", f"{error.filename}: {error.strerror}\n".encode()))
            code = 127 if error.errno == errno.ENOENT else 126
            _write(line, frame(b"X", str(code).encode()))
        else:
            command.run(early)
    except Exception as error:
        _write(line, frame(b"F", f"{type(error).__name__}: {error}".encode()))
    termios.tcdrain(line)
    os.sync()
    ctypes.CDLL(None).reboot(_POWER_OFF)


class _Command:
    """The command, between its pipes (or its terminal) and the serial line."""

    def __init__(self, line: int, frames: Frames, job: dict[str, Any]) -> None:
        self._line = line
        self._frames = frames
        self._selector = selectors.DefaultSelector()
        self._outputs: set[int] = set()
        if job["terminal"]:
            self._input, lower = pty.openpty()
            _set_window(self._input, job["window"])
            streams: Any = {"stdin": lower, "stdout": lower, "stderr": lower}
        else:
            streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self._process = subprocess.Popen(
            job["argv"],
            cwd=job["cwd"],
            env=job["env"] | {"MODPROBE_OPTIONS": f"-d {_OWN}"},
            umask=job["umask"],
            start_new_session=True,
            preexec_fn=_take_terminal if job["terminal"] else None,
            bufsize=0,
            **streams,
        )
        self._terminal = job["terminal"]
        if self._terminal:
            os.close(lower)
            self._watch(self._input, b"O")
        else:
            assert self._process.stdin
            assert self._process.stdout
            assert self._process.stderr
            self._input = self._process.stdin.fileno()
            self._watch(self._process.stdout.fileno(), b"O")
            self._watch(self._process.stderr.fileno(), b"E")
        self._selector.register(line, selectors.EVENT_READ, None)

    def run(self, early: list[tuple[bytes, bytes]]) -> None:
        """Until the command has ended and its output is drained."""
        for kind, payload in early:
            self._obey(kind, payload)
        ended = os.pidfd_open(self._process.pid)
        self._selector.register(ended, selectors.EVENT_READ, None)
        status, deadline = None, float("inf")
        while status is None or (self._outputs and time.monotonic() < deadline):
            for key, _ in self._selector.select(1.0 if status is None else 0.05):
                if key.fd == self._line:
                    for kind, payload in self._frames.feed(os.read(self._line, _CHUNK)):
                        self._obey(kind, payload)
                elif key.data:
                    self._relay(key.fd, key.data)
            reaped = self._reap()
            if reaped is not None:
                status, deadline = reaped, time.monotonic() + _LAST_WORDS_S
                self._selector.unregister(ended)
        code = 128 - status if status < 0 else status
        _write(self._line, frame(b"X", str(code).encode()))

    def _watch(self, descriptor: int, kind: bytes) -> None:
        self._outputs.add(descriptor)
        self._selector.register(descriptor, selectors.EVENT_READ, kind)

    def _relay(self, descriptor: int, kind: bytes) -> None:
        try:
            data = os.read(descriptor, _CHUNK)
        except OSError:  # EIO: nobody has the lower end of the terminal any more
            data = b""
        if data:
            _write(self._line, frame(kind, data))
        else:
            self._selector.unregister(descriptor)
            self._outputs.discard(descriptor)

    def _obey(self, kind: bytes, payload: bytes) -> None:
        if kind == b"I":
            self._feed(payload)
        elif kind == b"S":
            os.killpg(self._process.pid, int(payload))
        elif kind == b"W":
            _set_window(self._input, json.loads(payload))

    def _feed(self, payload: bytes) -> None:
        try:
            if payload:
                _write(self._input, payload)
            elif not self._terminal:
                os.close(self._input)
        except BrokenPipeError:  # the command does not listen
            return

    def _reap(self) -> int | None:
        """The status of the command if it has ended. The first process inherits all orphans."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == 0:
                return None
            if pid == self._process.pid:
                return os.waitstatus_to_exitcode(status)


def _set_up_machine() -> None:
    _mount("proc", "/proc")
    _mount("sysfs", "/sys")
    _mount("tmpfs", "/run")
    for folder in ("/run/netns", "/run/lock", "/dev/pts", "/dev/shm"):
        os.makedirs(folder, exist_ok=True)
    _mount("devpts", "/dev/pts", options="ptmxmode=666")
    _mount("tmpfs", "/dev/shm")
    for name, target in (
        ("fd", ""),
        ("stdin", "/0"),
        ("stdout", "/1"),
        ("stderr", "/2"),
    ):
        if not os.path.lexists(f"/dev/{name}"):
            os.symlink(f"/proc/self/fd{target}", f"/dev/{name}")
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    _load_modules()
    _choose_legacy_iptables()
    _up("lo")


def _load_modules() -> None:
    """The machine need not have a folder for this kernel's modules where modprobe looks."""
    release = os.uname().release
    modules = _OWN / "lib" / "modules"
    modules.mkdir(parents=True)
    (modules / release).symlink_to(_UML_MODULES / release)
    for_kernel = _OWN / "modprobe"
    for_kernel.write_text(f'#!/bin/sh\nexec modprobe -d {_OWN} "$@"\n')
    for_kernel.chmod(0o755)
    Path("/proc/sys/kernel/modprobe").write_text(str(for_kernel))
    subprocess.run(
        ["modprobe", "-d", str(_OWN), "--all", *_MODULES],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def _choose_legacy_iptables() -> None:
    """This kernel's nf_tables cannot translate addresses, so `iptables` is the legacy variant here.

    As `update-alternatives` would do it, but in a copy that only the guest sees.
    """
    original, copy = Path("/etc/alternatives"), _OWN / "alternatives"
    if not (original / "iptables").is_symlink():
        return
    shutil.copytree(original, copy, symlinks=True)
    for link in copy.glob("ip*tables*"):
        if link.is_symlink() and link.name.startswith(("iptables", "ip6tables")):
            target = os.readlink(link).replace("-nft", "-legacy")
            link.unlink()
            link.symlink_to(target)
    _mount("", str(original), source=str(copy), flags=0x1000)  # MS_BIND


def _prepare(job: dict[str, Any]) -> None:
    """What the guest takes over from whoever runs the command."""
    socket.sethostname(job["hostname"])
    for name in job["namespaces"]:
        subprocess.run(["ip", "netns", "add", name], check=True)


def _mount(
    kind: str, target: str, *, source: str = "none", flags: int = 0, options: str = ""
) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()
    ):
        raise OSError(ctypes.get_errno(), f"mount {kind or source} at {target}")


def _up(interface: str) -> None:
    siocsifflags, up = 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
        request = struct.pack("16sH14x", interface.encode(), up)
        fcntl.ioctl(anything, siocsifflags, request)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)


def _set_window(terminal: int, window: list[int]) -> None:
    rows, columns = window
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    try:
        main()
    except BaseException as error:  # a first process that ends is a panic without a reason
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        raise
