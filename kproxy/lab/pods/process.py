"""Programs that run in a pod and see the network as a container would.

A program is in the pod's network namespace, and in namespaces of its own for

- mounts: /etc/resolv.conf is the pod's, /etc/hosts as kubelet writes it, /sys shows the pod's
  interfaces, and names are looked up only by those two files, whatever the machine's
  /etc/nsswitch.conf and nscd would do. If a file is a symbolic link, its target is covered; if it
  does not exist, or the link is broken, an overlay of /etc has it.
- its host name, which is the pod's;
- processes: what it starts ends with it, and it ends with us, however that happens.

No other process sees any of this, and all of it ends with the program. The other files are the
machine's; the environment is not.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from subprocess import CompletedProcess, Popen

from kproxy.address import Family
from kproxy.errors import BadInput, KernelRefused, Unsupported
from kproxy.kernel.process import ending_with_us
from kproxy.lab.hosts import LabPod

_CLONE_NEWNS, _CLONE_NEWUTS = 0x00020000, 0x04000000  # linux/sched.h
_MS_BIND, _MS_REC, _MS_SLAVE, _MNT_DETACH = 0x1000, 0x4000, 0x80000, 2  # linux/mount.h

# The program is the first of its process namespace: it is killed when unshare ends, and with it all
# others there.
_CONTAINED = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_STAGE = Path("/tmp")  # any folder that every machine has; covered for a moment only
_HOSTNAME_MAX = 63
_NSCD = Path("/run/nscd")
_HOSTS_LINE = re.compile(r"^hosts:.*$", re.MULTILINE)
_HOSTS = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""
# Prints addresses in libc's order, a line each, or a failure with its number: its words vary.
_LOOK_UP = """\
import socket, sys
try:
    found = socket.getaddrinfo(sys.argv[1], None, int(sys.argv[2]), socket.SOCK_STREAM)
except socket.gaierror as error:
    sys.exit(f"{error.errno} {error.strerror}")
print(*(each[4][0] for each in found), sep="\\n")
"""
_NOT_FOUND = {socket.EAI_NONAME, socket.EAI_NODATA}

_libc = ctypes.CDLL(None, use_errno=True)


def run_in_pod(
    pod: LabPod, command: Sequence[str], *, resolv_conf: str, timeout_s: float = 60
) -> CompletedProcess[str]:
    """Run a program; return its output and exit status, which is 127 if no program has that name.

    `resolv_conf` is the text of the pod's /etc/resolv.conf (`kproxy.dns.resolv_conf`). Standard
    input is empty. Raises KernelRefused if it has not ended after `timeout_s` (it is killed then),
    Unsupported without the privilege, BadInput if the command is empty.
    """
    if not command:
        raise BadInput([f"no command to run in {pod.name}"])
    started: Future[Popen[str]] = Future()
    # The thread cannot leave its namespaces. It lives as long as the program, which would be killed
    # when it ends.
    keeper = threading.Thread(
        target=_start_and_stay, args=(started, pod, command, resolv_conf), name="kproxy-in-pod"
    )
    keeper.start()
    try:
        with started.result() as process:
            try:
                output, errors = process.communicate(timeout=timeout_s)
            except BaseException:
                process.kill()
                raise
    except subprocess.TimeoutExpired:
        said = f"{shlex.join(command)} in {pod.name}: not done after {timeout_s:g} s"
        raise KernelRefused(said) from None
    finally:
        keeper.join()
    return CompletedProcess(list(command), process.returncode, output, errors)


def resolve(
    pod: LabPod, name: str, *, resolv_conf: str, family: Family | None = None, timeout_s: float = 60
) -> list[str]:
    """Return the addresses that libc's getaddrinfo finds in the pod, in its order; [] if none.

    Raises KernelRefused with libc's message for every other failure, such as no answer.
    """
    wanted = family.socket_family if family else socket.AF_UNSPEC
    command = (sys.executable, "-I", "-S", "-c", _LOOK_UP, name, str(int(wanted)))
    done = run_in_pod(pod, command, resolv_conf=resolv_conf, timeout_s=timeout_s)
    if not done.returncode:
        return done.stdout.split()
    number, _, words = done.stderr.strip().partition(" ")
    if number.lstrip("-").isdigit():
        if int(number) in _NOT_FOUND:
            return []
        raise KernelRefused(f"{name} in {pod.name}: {words}")
    raise KernelRefused(f"{name} in {pod.name}: {done.stderr.strip()}")


def hostname(pod: LabPod) -> str:
    """Return what `hostname` prints in the pod: its name, or on the host network its node's.

    Source: pkg/kubelet/util/util.go (truncatePodHostnameIfNeeded)
    """
    if pod.spec.host_network:
        return pod.node
    return pod.name.removesuffix(f".{pod.spec.namespace}")[:_HOSTNAME_MAX].rstrip("-.")


def hosts_file(pod: LabPod) -> str:
    """Return the pod's /etc/hosts.

    Source: pkg/kubelet/kubelet_pods.go (managedHostsFileContent)
    """
    name = hostname(pod)
    return _HOSTS + "".join(f"{address}\t{name}\n" for address in pod.addresses.values())


def leave_the_machine(name: str, files: Mapping[str, str]) -> None:
    """Let the calling thread have a host name and mounts of its own, which it cannot leave.

    It is in the network namespace of a lab's host, whose interfaces /sys shows from now on. /etc
    has the `files` of a pod, if there are any. Raises Unsupported without the privilege.
    """
    _unshare()
    if files:
        _mount_files(files)
    socket.sethostname(name)
    _mount("sysfs", Path("/sys"), kind="sysfs")


def name_service_switch() -> dict[str, str]:
    """Return path and text of the machine's nsswitch.conf, if it has one, so changed that names of
    hosts are looked up in /etc/hosts and by DNS only.
    """
    path = Path("/etc/nsswitch.conf")
    return (
        {str(path): _HOSTS_LINE.sub("hosts: files dns", path.read_text())} if path.exists() else {}
    )


def _start_and_stay(
    started: Future[Popen[str]], pod: LabPod, command: Sequence[str], resolv_conf: str
) -> None:
    """Start the program and wait for it, in a thread of its own: it cannot leave the namespaces."""
    try:
        with pod.namespace.entered():
            leave_the_machine(hostname(pod), {"resolv.conf": resolv_conf, "hosts": hosts_file(pod)})
            environment = _environment(pod)
            only = ("env", "-i", *(f"{name}={value}" for name, value in environment.items()))
            process = Popen(
                [*ending_with_us("KILL", os.getpid()), *only, *_CONTAINED, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env=environment,
            )
    except BaseException as error:
        started.set_exception(error)
        return
    started.set_result(process)
    process.wait()


def _environment(pod: LabPod) -> dict[str, str]:
    """Return a container's environment: the machine's may name proxies, search domains and
    settings of curl.
    """
    return {"PATH": _PATH, "HOME": "/", "HOSTNAME": hostname(pod), "LC_ALL": "C"}


def _mount_files(files: Mapping[str, str]) -> None:
    """Let /etc have these files, in the calling thread's own mount namespace."""
    files = {**files, **{Path(path).name: text for path, text in name_service_switch().items()}}
    if _NSCD.is_dir():
        _mount("tmpfs", _NSCD, kind="tmpfs")
    _mount("tmpfs", _STAGE, kind="tmpfs", data="mode=755")
    for name, text in files.items():
        (_STAGE / name).write_text(text)
    if all(Path("/etc", name).exists() for name in files):
        for name in files:
            _mount(str(_STAGE / name), Path("/etc", name), flags=_MS_BIND)
    else:
        _mount("overlay", Path("/etc"), kind="overlay", data=f"lowerdir={_STAGE}:/etc")
    if _libc.umount2(os.fsencode(_STAGE), _MNT_DETACH):
        raise _failure(f"unmount {_STAGE}")


def _unshare() -> None:
    """Leave the machine's namespaces of mounts and the host name. Mounts made here stay here; the
    machine's unmounts take effect here, too.
    """
    if _libc.unshare(_CLONE_NEWNS | _CLONE_NEWUTS):
        raise _failure("make a mount namespace")
    _mount("", Path("/"), flags=_MS_REC | _MS_SLAVE)


def _mount(source: str, target: Path, *, kind: str = "", flags: int = 0, data: str = "") -> None:
    if _libc.mount(
        source.encode(),
        os.fsencode(target),
        kind.encode(),
        ctypes.c_ulong(flags),
        data.encode() or None,
    ):
        raise _failure(f"mount {source or 'no more mounts of others'} at {target}")


def _failure(what: str) -> Unsupported | KernelRefused:
    code = ctypes.get_errno()
    message = f"cannot {what}: {os.strerror(code)}"
    if code in (errno.EPERM, errno.EACCES):
        return Unsupported(message, remedy="run as root; in a container with --privileged")
    return KernelRefused(message)
