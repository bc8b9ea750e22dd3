"""A kernel that has IPVS: the running one, or user-mode Linux, for one command.

User-mode Linux is a kernel that runs as an ordinary process. It boots in two seconds on the root
file system of the machine (hostfs), so the command finds all files in their places, and what it
writes stays. Network, namespaces, mounts and processes are its own, and end with it.
Source: kernel.org, Documentation/virt/uml/user_mode_linux_howto_v2.rst
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from kproxy.errors import BadInput, KproxyError, Unsupported
from kproxy.kernel.running import on_uml
from kproxy.kernel.uml import guest, keeper, xstate
from kproxy.kernel.uml.relay import TIMED_OUT, Guest, Relay, window_size

MEMORY_MIB = 2048
_PLACES = ("/dev/shm", "/tmp", "/var/tmp")  # for the guest's memory
# Parts of the kernel that take a second to start, and that no test of a network needs.
_WITHOUT = (
    "initcall_blacklist=raid6_select_algo",  # measures which algorithm is the fastest, for 0.85 s
    "cryptomgr.notests=1",
    "pty.legacy_count=0",
    "zswap.enabled=0",
)
_MOST_FILES = 1 << 20  # fs.nr_open of the guest


def run_on_uml(
    argv: Sequence[str],
    *,
    timeout_s: float | None = None,
    memory_mib: int = MEMORY_MIB,
    namespaces: Sequence[str] = (),
) -> int:
    """Run a command on user-mode Linux, between our standard streams, and return its exit status:
    128 + n if it was ended by signal n, 124 if it took longer than `timeout_s`.

    Working directory, environment and umask are ours; it is root there, with our rights to files.
    `namespaces`: names of empty network namespaces to create for it. SIGINT, SIGTERM and SIGHUP are
    passed on to it, and end the guest if they do not end it. For the main thread only.
    Raises Unsupported if that cannot be done on this machine, KernelRefused if the guest dies,
    KproxyError if our standard output cannot be written.
    """
    terminal = all(os.isatty(number) for number in (0, 1, 2))
    job = {
        "argv": list(argv),
        "cwd": _working_directory(),
        "env": dict(os.environ),
        "umask": _umask(),
        "files": [
            min(limit, _MOST_FILES) if limit != resource.RLIM_INFINITY else _MOST_FILES
            for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
        ],
        "hostname": socket.gethostname(),
        "namespaces": list(namespaces),
        "terminal": terminal,
        "window": window_size() if terminal else [],
    }
    with _booting(_find_program(), memory_mib) as guest:
        return Relay(guest, job).run(timeout_s)


@contextlib.contextmanager
def _booting(program: str, memory_mib: int) -> Iterator[Guest]:
    """Start a guest that ends with this block, or with this process."""
    with contextlib.ExitStack() as stack:

        def pipe() -> tuple[int, int]:
            ends = os.pipe()
            for end in ends:
                stack.callback(os.close, end)
            return ends

        # The guest's ends stay open here, too: `ended` tells when it has ended, not an end of file.
        (reads, to_guest), (from_guest, writes), (console, says) = pipe(), pipe(), pipe()
        inherited = [reads, writes]
        environment = {**os.environ, "TMPDIR": _place_for(memory_mib)}
        if xstate.is_needed(program):
            library = xstate.library()
            stack.callback(os.close, library)
            inherited.append(library)
            others = environment.get("LD_PRELOAD", "")
            environment["LD_PRELOAD"] = f"/proc/self/fd/{library} {others}".rstrip()
        process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", keeper.__file__),
                *_command(program, memory_mib, reads, writes),
            ],
            stdin=subprocess.PIPE,
            stdout=says,
            stderr=says,
            pass_fds=inherited,
            process_group=0,  # Ctrl-C is for the command
            env=environment,
        )
        stack.enter_context(process)  # closes its standard input, and waits
        ended = os.pidfd_open(process.pid)
        stack.callback(os.close, ended)
        yield Guest(to_guest, from_guest, console, ended)


def _find_program() -> str:
    if platform.machine() != "x86_64":
        raise Unsupported(
            f"user-mode Linux is for x86-64, and this machine is {platform.machine()}",
            remedy="boot a kernel that has ip_vs",
        )
    program = shutil.which("linux.uml")
    if not program:
        raise Unsupported(
            "user-mode Linux (linux.uml) is not installed",
            remedy="apt-get install user-mode-linux",
        )
    return program


def _command(program: str, memory_mib: int, reads: int, writes: int) -> list[str]:
    return [
        program,
        f"mem={memory_mib}M",
        *("rootfstype=hostfs", "root=/dev/root", "rootflags=/", "rw"),
        *("con=null", "con0=null,fd:1", "ssl=null", f"ssl0=fd:{reads},fd:{writes}"),
        "uml_dir=/dev/null/",  # no folder for a control socket in the home folder: it is not used
        "loglevel=1",  # 0 would hide the reason of a panic
        *_WITHOUT,
        f'init="{Path(sys.executable).absolute()}"',
        *("--", "-I", "-S", f'"{Path(guest.__file__).resolve()}"'),
    ]


def _place_for(memory_mib: int) -> str:
    """Return a folder for the file that is the guest's memory: it is mapped as code, too."""
    wanted = memory_mib << 20
    for place in dict.fromkeys(("/dev/shm", os.environ.get("TMPDIR", "/tmp"), *_PLACES)):
        with contextlib.suppress(OSError):
            volume = os.statvfs(place)
            room = volume.f_bavail * volume.f_frsize
            if room >= wanted and not volume.f_flag & os.ST_NOEXEC and os.access(place, os.W_OK):
                return place
    raise Unsupported(
        f"no folder with {memory_mib} MiB of room, mounted with exec, for the guest's memory",
        remedy=f"make room in one of {', '.join(_PLACES)}, or set TMPDIR",
    )


def _umask() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(next(line for line in status.splitlines() if line.startswith("Umask:"))[6:], 8)


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise BadInput(["the working directory has been deleted"]) from None


def main() -> None:
    """Run `python -m kproxy.kernel.uml COMMAND...`. Exit status 125: it could not be run."""
    parser = _parser()
    options = parser.parse_args()
    argv: list[str] = options.command[options.command[:1] == ["--"] :]
    if not argv:
        parser.error("COMMAND is missing")
    _open_standard_streams()
    try:
        if options.kernel == "auto" or on_uml():
            _exec_here(argv, options.timeout)
        status = run_on_uml(argv, timeout_s=options.timeout, memory_mib=options.memory)
    except KproxyError as error:
        sys.stderr.write(f"ipvs-kernel: {error}\n")
        if error.remedy:
            sys.stderr.write(f"  try: {error.remedy}\n")
        status = 125
    if status == TIMED_OUT and options.timeout:
        sys.stderr.write(
            f"ipvs-kernel: the command was ended after {options.timeout:g} s (--timeout)\n"
        )
    sys.exit(status)


def _exec_here(argv: list[str], timeout_s: float | None) -> None:
    """Replace this process by the command if the running kernel has IPVS, else do nothing."""
    from kproxy.kernel.ipvs import has_ipvs

    if not has_ipvs():
        return
    if timeout_s:
        argv = ["timeout", "--foreground", f"{timeout_s:g}", *argv]
    try:
        os.execvp(argv[0], argv)
    except OSError as error:  # in the words of a shell
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


def _open_standard_streams() -> None:
    """Open standard streams that are closed (`<&-`), else the next files would take their place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ipvs-kernel",
        usage="%(prog)s [OPTION...] COMMAND...",
        description="Run a command on a kernel that has IPVS: on the running kernel if it has it, "
        "else on user-mode Linux, with the same files. There the command runs as root.",
        epilog="examples:\n"
        "  ipvs-kernel ipvsadm -Ln\n"
        "  ipvs-kernel kproxy bench sync --mode ipvs\n"
        "  ipvs-kernel --timeout 600 pytest -m ipvs\n"
        "  ipvs-kernel bash\n\n"
        "The exit status is the command's; 124: ended by --timeout; 125: it could not be run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="end the command after that time"
    )
    parser.add_argument(
        "--memory",
        type=int,
        default=MEMORY_MIB,
        metavar="MIB",
        help="memory of the user-mode kernel (default %(default)s)",
    )
    parser.add_argument(
        "--kernel",
        choices=("auto", "uml"),
        default="auto",
        help="uml: always user-mode Linux (default %(default)s)",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    return parser
