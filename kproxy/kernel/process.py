"""Programs run for their output: an argument list, text in, text out."""

from __future__ import annotations

import os
import selectors
import shlex
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, TypeAlias

from kproxy.errors import KernelRefused, Unsupported
from kproxy.kernel import starter
from kproxy.kernel.running import on_uml

_Process: TypeAlias = subprocess.Popen[bytes] | starter.Started
_CHUNK = 1 << 16
_PACKAGES = {
    "conntrack": "conntrack",
    "ip": "iproute2",
    "iptables": "iptables",
    "ip6tables": "iptables",
    "modprobe": "kmod",
    "nfacct": "nfacct",
    "nft": "nftables",
    "openssl": "openssl",
    "setpriv": "util-linux",
    "xtables": "iptables",
}


def run(argv: Sequence[str], stdin: str | Iterable[str] = "", *, timeout_s: float = 60) -> str:
    """Run a program in the C locale and return its standard output.

    It runs in the network namespace of the calling thread. `stdin` may be an iterable of pieces,
    which are made as the program takes them. It is closed after the last one, and when this process
    ends: programs that read it to the end do not outlive us.
    Raises Unsupported if the program is not installed, KernelRefused with the first lines of its
    standard error if it does not exit with 0 or has not exited after `timeout_s` (it is killed).
    """
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
    }
    try:
        process = _start(argv, has_input=stdin != "", env=environment)
    except (FileNotFoundError, PermissionError) as error:
        raise _missing(argv[0], error) from None
    with process:
        try:
            output, errors = _exchange(process, _pieces(stdin), time.monotonic() + timeout_s)
        except TimeoutError:
            process.kill()
            raise KernelRefused(
                f"{shlex.join(argv)}: killed, it was still running after {timeout_s:g} s"
            ) from None
        except BaseException:  # an error while making the next piece, or an interrupt
            process.kill()
            raise
    if process.returncode:
        raise KernelRefused(_complaint(argv, process.returncode, errors.decode(errors="replace")))
    return output.decode(errors="replace")


def ending_with_us(signal_name: str, parent: int | None = None) -> tuple[str, ...]:
    """Return what to put before a command that the calling thread starts, so that the kernel sends
    it that signal when the thread ends. `parent` is the process that starts it, by default the one
    that does so in `run`, if that is known.

    The command does not start if the parent has ended before the kernel was asked for that. A shell
    sees to it, which may add variables to the environment.
    """
    prefix = ("setpriv", "--pdeathsig", signal_name, "--")
    if parent is None:
        if on_uml():  # a process of `starter`
            return prefix
        parent = os.getpid()
    return (*prefix, "sh", "-c", '[ "$PPID" = "$1" ] && shift && exec "$@"', "sh", str(parent))


def _start(argv: Sequence[str], *, has_input: bool, env: Mapping[str, str]) -> _Process:
    if on_uml():
        return starter.start(argv, has_input=has_input, env=env)
    return subprocess.Popen(
        argv,
        stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        bufsize=0,
    )


def _pieces(text: str | Iterable[str]) -> Iterator[bytes]:
    if isinstance(text, str):
        starts = range(0, len(text), _CHUNK)
        return (text[start : start + _CHUNK].encode() for start in starts)
    return (piece.encode() for piece in text if piece)


def _exchange(process: _Process, pieces: Iterator[bytes], deadline: float) -> tuple[bytes, bytes]:
    """Feed and read until both outputs are at their end and the program has exited."""
    assert process.stdout
    assert process.stderr
    outputs: dict[IO[bytes], list[bytes]] = {process.stdout: [], process.stderr: []}
    with selectors.DefaultSelector() as selector:
        for stream in outputs:
            selector.register(stream, selectors.EVENT_READ, stream)
        if process.stdin:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE, process.stdin)
        pending = memoryview(b"")
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if time.monotonic() >= deadline:
                raise TimeoutError
            for key, _ in ready:
                stream = key.data
                if stream is process.stdin:
                    if not pending:
                        pending = memoryview(next(pieces, b""))
                    rest = _feed(process.stdin, pending)
                    if rest is None:
                        selector.unregister(stream)
                        stream.close()
                    else:
                        pending = rest
                elif data := os.read(stream.fileno(), _CHUNK):
                    outputs[stream].append(data)
                else:
                    selector.unregister(stream)
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return b"".join(outputs[process.stdout]), b"".join(outputs[process.stderr])


def _feed(stream: IO[bytes], data: memoryview) -> memoryview | None:
    """Write and return the rest; None if there was nothing more, or the reader has closed it."""
    if not data:
        return None
    try:
        return data[os.write(stream.fileno(), data) :]
    except BlockingIOError:
        return data
    except BrokenPipeError:
        return None


def _missing(program: str, error: OSError) -> Unsupported:
    package = next(
        (_PACKAGES[name] for name in (program, program.split("-")[0]) if name in _PACKAGES), program
    )
    reason = "not installed" if isinstance(error, FileNotFoundError) else "not executable"
    return Unsupported(f"{program}: {reason}", remedy=f"apt-get install {package}")


def _complaint(argv: Sequence[str], code: int, errors: str) -> str:
    lines = [line for line in errors.splitlines() if line.strip()][:5]
    status = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
    return f"{shlex.join(argv)}: {status}" + "".join(f"\n  {line}" for line in lines)
