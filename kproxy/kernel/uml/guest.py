"""The init process of a user-mode Linux guest, which runs one command.

It sets up a machine around the root file system it shares with its host, loads the modules that a
service proxy needs and runs the command. The host talks to it over a serial line, in frames: a
letter, a length, that many bytes. Standard library only: it is started by file name, without
site-packages.

    to the guest    J  what to run (JSON)            I  standard input; both empty at their end
                    S  a signal for the command      W  window size: rows and columns
                    B  this output (O or E) has no reader any more
    to the host     R  ready: bytes sent before are lost
                    O  standard output               E  standard error
                    M  number of bytes of J or I that may be sent in addition
                    X  exit status, the last frame   F  the reason why it could not be started

Neither side ever waits for one thing only: a command that does not read its input, or a slow
reader, must not hold up a signal. So input is sent only as far as M allows, beginning with `WINDOW`
bytes. That is less than the size at which a serial line is throttled (4096 - 128), because
user-mode Linux 6.1 does not always wake up from that.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import pty
import resource
import select
import signal
import socket
import struct
import subprocess
import termios
import traceback
import tty
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

WINDOW = 2048
ENOUGH = 1 << 18  # bytes that wait for a slow reader before no more are taken
_CHUNK = 1 << 14
_HEAD = struct.Struct(">cI")
_LINE = "/dev/ttyS0"
_OWN = Path("/run/kproxy")  # on a tmpfs of the guest
_UML_MODULES = Path("/usr/lib/uml/modules")
_FINIT_MODULE = 313  # its number on x86-64, the only processor of user-mode Linux
_MODULE_INIT_COMPRESSED_FILE = 4  # linux/module.h

# Missing modules are no error here: a program that needs one gets an error when it uses it. The
# kernel would ask for most of them by itself, but starts a shell and modprobe for each.
_MODULES = (
    *("ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_lc", "ip_vs_wlc", "ip_vs_lblc", "ip_vs_lblcr"),
    *("ip_vs_dh", "ip_vs_sh", "ip_vs_sed", "ip_vs_nq", "ip_vs_fo", "ip_vs_ovf", "ip_vs_mh"),
    *("overlay", "dummy", "veth", "bridge", "br_netfilter", "vxlan", "macvlan", "sch_netem"),
    "sctp",
    *("iptable_nat", "iptable_filter", "iptable_mangle", "iptable_raw"),
    *("ip6table_nat", "ip6table_filter", "ip6table_mangle", "ip6table_raw"),
    *("xt_addrtype", "xt_comment", "xt_conntrack", "xt_ipvs", "xt_mark", "xt_nat", "xt_nfacct"),
    *("xt_MASQUERADE", "xt_physdev", "xt_recent", "xt_sctp", "xt_set", "xt_statistic"),
    *("xt_tcpudp", "ipt_REJECT", "ip6t_REJECT"),
    *("ip_set", "ip_set_bitmap_port", "ip_set_hash_ip", "ip_set_hash_ipport"),
    *("ip_set_hash_ipportip", "ip_set_hash_ipportnet"),
    *("nf_conntrack_netlink", "nf_conntrack", "nf_log_syslog", "nfnetlink_acct"),
)


_Frame = tuple[bytes, bytes]  # kind and payload


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    return _HEAD.pack(kind, len(payload)) + payload


class Frames:
    """Puts received pieces together into frames."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> Iterator[_Frame]:
        """Yield kind and payload of each frame that is complete now."""
        self._data += data
        while len(self._data) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._data)
            end = _HEAD.size + length
            if len(self._data) < end:
                return
            payload, self._data = self._data[_HEAD.size : end], self._data[end:]
            yield kind, payload


class Outbox:
    """Bytes to be written to a descriptor, some whenever it has room. No `flush` waits, even if the
    descriptor is blocking.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._data = bytearray()

    def put(self, data: bytes) -> None:
        self._data += data

    def __len__(self) -> int:
        return len(self._data)

    def flush(self) -> int:
        """Write some bytes and return how many. To be called when the descriptor is ready.

        Raises OSError.
        """
        try:  # a ready descriptor takes this much without blocking
            count = os.write(self.descriptor, self._data[: select.PIPE_BUF])
        except BlockingIOError:
            return 0
        del self._data[:count]
        return count


def main() -> None:
    line = os.open(_LINE, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    tty.setraw(line)
    outbox = Outbox(line)
    try:
        last = _run(outbox)
    except Exception:  # if the init process ends the kernel panics, which explains nothing
        last = frame(b"F", traceback.format_exc().encode())
    _drain(outbox)
    os.sync()  # the host ends the guest when it has the status
    outbox.put(last)
    _drain(outbox)
    while True:
        signal.pause()


def _run(outbox: Outbox) -> bytes:
    """Set up the machine, run the command and return the frame that reports how it ended."""
    _set_up_machine()
    frames = Frames()
    job, early = _receive_job(outbox, frames)
    os.set_blocking(outbox.descriptor, False)
    _prepare(job)
    try:
        os.chdir(job["cwd"])
    except OSError as error:
        return frame(b"F", f"{job['cwd']}: {error.strerror} in the guest".encode())
    try:
        command = _Command(outbox, frames, job)
    except OSError as error:  # in the words of a shell
        outbox.put(frame(b"E", f"{error.filename}: {error.strerror}\n".encode()))
        return frame(b"X", b"127" if error.errno == errno.ENOENT else b"126")
    return frame(b"X", str(command.run(early)).encode())


def _receive_job(outbox: Outbox, frames: Frames) -> tuple[dict[str, Any], list[_Frame]]:
    """Receive the job, and return it with the other frames that arrived meanwhile."""
    outbox.put(frame(b"R"))
    text, complete, early = b"", False, []
    while not complete:
        _drain(outbox)
        for kind, payload in frames.feed(os.read(outbox.descriptor, _CHUNK)):
            if kind == b"J":
                text += payload
                complete = not payload
                outbox.put(frame(b"M", str(len(payload)).encode()))
            else:
                early.append((kind, payload))
    job: dict[str, Any] = json.loads(text)
    return job, early


def _drain(outbox: Outbox) -> None:
    while outbox:
        select.select([], [outbox.descriptor], [])
        outbox.flush()


class _Command:
    """The command, connected to the serial line by its pipes or its terminal."""

    def __init__(self, outbox: Outbox, frames: Frames, job: dict[str, Any]) -> None:
        self._outbox = outbox
        self._frames = frames
        self._terminal = job["terminal"]
        self._outputs: dict[int, bytes] = {}  # the kind of frame for each
        if self._terminal:
            upper, lower = pty.openpty()
            _set_window(upper, job["window"])
            theirs = [lower] * 3
            self._input = Outbox(upper)
            self._outputs[upper] = b"O"
        else:
            (stdin, into), (out, stdout), (err, stderr) = os.pipe(), os.pipe(), os.pipe()
            theirs = [stdin, stdout, stderr]
            self._input = Outbox(into)
            self._outputs |= {out: b"O", err: b"E"}
        os.set_blocking(self._input.descriptor, False)
        self._input_open, self._input_ends = True, False
        self._process = subprocess.Popen(
            job["argv"],
            env=job["env"] | {"MODPROBE_OPTIONS": f"-d {_OWN}"},
            umask=job["umask"],
            start_new_session=True,
            preexec_fn=_take_terminal if self._terminal else None,
            stdin=theirs[0],
            stdout=theirs[1],
            stderr=theirs[2],
        )
        for descriptor in set(theirs):
            os.close(descriptor)

    def run(self, early: list[_Frame]) -> int:
        """Run until the command has ended, kill the processes it left, return its exit status."""
        line = self._outbox.descriptor
        ended = os.pidfd_open(self._process.pid)
        status = None
        for kind, payload in early:
            self._obey(kind, payload)
        while status is None or self._outputs:
            reads = [line] if status is not None else [line, ended]
            if len(self._outbox) < ENOUGH:
                reads += self._outputs
            writes = [line] if self._outbox else []
            if self._input and self._input_open:
                writes.append(self._input.descriptor)
            readable, writable, _ = select.select(reads, writes, [], 1)
            if line in readable:
                for kind, payload in self._frames.feed(os.read(line, _CHUNK)):
                    self._obey(kind, payload)
            for output in self._outputs.keys() & set(readable):
                self._relay(output)
            if line in writable:
                self._outbox.flush()
            if self._input.descriptor in writable:
                self._feed()
            if status is None:
                status = self._reap()
                if status is not None:  # the kill makes all outputs end
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(-1, signal.SIGKILL)  # spares the init process, which we are
        return 128 - status if status < 0 else status

    def _relay(self, output: int) -> None:
        try:
            data = os.read(output, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: no process has the lower end of the terminal any more
            data = b""
        if data:
            self._outbox.put(frame(self._outputs[output], data))
        else:
            del self._outputs[output]

    def _obey(self, kind: bytes, payload: bytes) -> None:
        match kind:
            case b"I" if payload:
                self._input.put(payload)
            case b"I":
                self._input_ends = True
                self._end_input()
            case b"S":
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, int(payload))
            case b"W":
                _set_window(self._input.descriptor, json.loads(payload))
            case b"B":  # closed, so that the command gets SIGPIPE
                for output in [each for each, kind in self._outputs.items() if kind == payload]:
                    del self._outputs[output]
                    os.close(output)

    def _feed(self) -> None:
        try:
            count = self._input.flush()
        except OSError:  # the command has closed its input: no more may be sent
            self._input_open = False
            return
        self._outbox.put(frame(b"M", str(count).encode()))
        self._end_input()

    def _end_input(self) -> None:
        if self._input_ends and not self._input and self._input_open and not self._terminal:
            self._input_open = False
            os.close(self._input.descriptor)

    def _reap(self) -> int | None:
        """Return the status of the command if it has ended, after reaping all orphans."""
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == self._process.pid:
                return os.waitstatus_to_exitcode(status)
            if pid == 0:
                return None


def _set_up_machine() -> None:
    _mount("proc", "/proc")
    _mount("sysfs", "/sys")
    _mount("tmpfs", "/run")
    for folder in ("/run/netns", "/run/lock", "/dev/pts", "/dev/shm"):
        os.makedirs(folder, exist_ok=True)
    _mount("devpts", "/dev/pts", options="ptmxmode=666")
    _mount("tmpfs", "/dev/shm")
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        if not os.path.lexists(f"/dev/{name}"):
            os.symlink(f"/proc/self/fd{target}", f"/dev/{name}")
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    _load_modules()
    _keep_etc()
    _choose_legacy_iptables()
    _up("lo")


def _load_modules() -> None:
    """Load the modules from a folder of our own: modprobe's may lack those of this kernel."""
    release = os.uname().release
    modules = _OWN / "lib" / "modules"
    modules.mkdir(parents=True)
    (modules / release).symlink_to(_UML_MODULES / release)
    for_kernel = _OWN / "modprobe"
    for_kernel.write_text(f'#!/bin/sh\nexec modprobe -d {_OWN} "$@"\n')
    for_kernel.chmod(0o755)
    Path("/proc/sys/kernel/modprobe").write_text(str(for_kernel))
    _Loader(modules / release).load(_MODULES)


class _Loader:
    """Loads modules and what they depend on, as modprobe does, without a process."""

    def __init__(self, folder: Path) -> None:
        """Read the table of `depmod`: each module, then those it needs, the first of them last."""
        self._folder = folder
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._needs: dict[str, list[str]] = {}
        self._paths: dict[str, str] = {}
        self._loaded: set[str] = set()
        with contextlib.suppress(FileNotFoundError):
            for line in (folder / "modules.dep").read_text().splitlines():
                path, _, needs = line.partition(":")
                self._needs[path] = needs.split()
                self._paths[path.rpartition("/")[2].partition(".")[0].replace("-", "_")] = path

    def load(self, names: Iterable[str]) -> None:
        """Load these modules, as far as they exist and the kernel takes them."""
        for path in (self._paths[name] for name in names if name in self._paths):
            for each in (*reversed(self._needs[path]), path):
                if each not in self._loaded:
                    self._loaded.add(each)
                    self._insert(each)

    def _insert(self, path: str) -> None:
        compressed = _MODULE_INIT_COMPRESSED_FILE if not path.endswith(".ko") else 0
        with open(self._folder / path, "rb") as module:
            self._libc.syscall(_FINIT_MODULE, module.fileno(), b"", compressed)


def _keep_etc() -> None:
    """Keep changes of /etc in the guest: `ip netns` has files there for its names."""
    changes, work = _OWN / "etc", _OWN / "etc-work"
    changes.mkdir()
    work.mkdir()
    options = f"lowerdir=/etc,upperdir={changes},workdir={work}"
    _mount("overlay", "/etc", options=options)


def _choose_legacy_iptables() -> None:
    """Make `iptables` the legacy variant: this kernel's nf_tables cannot translate addresses.

    It changes the links that `update-alternatives` would, in the guest's own /etc.
    """
    for link in Path("/etc/alternatives").glob("ip*tables*"):
        if link.is_symlink() and link.name.startswith(("iptables", "ip6tables")):
            target = os.readlink(link).replace("-nft", "-legacy")
            link.unlink()
            link.symlink_to(target)


def _prepare(job: dict[str, Any]) -> None:
    """Take over host name and limits from the host, and create the namespaces."""
    socket.sethostname(job["hostname"])
    resource.setrlimit(resource.RLIMIT_NOFILE, tuple(job["files"]))
    for name in job["namespaces"]:
        # An error of `ip` is enough here: the command will explain what it misses.
        subprocess.run(["ip", "netns", "add", name], check=False)


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


if __name__ == "__main__":
    main()
