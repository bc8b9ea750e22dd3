"""A command in the namespace of a lab's host: this process becomes it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from kproxy.kernel.netns import Namespace
from kproxy.lab.pods.process import leave_the_machine
from kproxy.resident import remote_shell
from kproxy.resident.control import ask


def become(place: Path, host: str, argv: Sequence[str]) -> NoReturn:
    """Replace this process by a command in a host's network namespace; without one, by a shell.

    In a pod it has the pod's resolv.conf, hosts file and host name besides. Its environment is
    ours, with KUBECONFIG. Raises BadInput if there is no such host, OSError if the command cannot
    be started, Unreachable, Unsupported.
    """
    reply = ask(place, {"do": "host", "host": host})
    if "remote" in reply.values:
        sys.exit(remote_shell.run(place, host, argv))
    (descriptor,) = reply.descriptors
    values = reply.values
    with Namespace(descriptor, host) as namespace, namespace.entered():
        leave_the_machine(values["hostname"], values["files"])
        environment = {**os.environ, **values["environment"]}
        words = [*argv] or _shell(environment, f"{place.name}/{host}")
        os.execvpe(words[0], words, environment)


def _shell(environment: dict[str, str], where: str) -> list[str]:
    """Return the command of an interactive shell, whose prompt says where it is."""
    environment["PS1"] = f"({where}) \\w # "
    if not shutil.which("bash"):
        environment["PS1"] = f"({where}) # "
        return ["sh", "-i"]
    # What the user's own file sets comes first, but for the prompt.
    settings = os.memfd_create("kproxy-bashrc", 0)
    prompt = "[ -f ~/.bashrc ] && . ~/.bashrc\nPS1=" + shlex.quote(environment["PS1"]) + "\n"
    os.write(settings, prompt.encode())
    os.lseek(settings, 0, os.SEEK_SET)
    return ["bash", "--rcfile", f"/dev/fd/{settings}", "-i"]
