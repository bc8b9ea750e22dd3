"""Any service proxy: a command on every node of a lab, instead of kproxy's own proxies.

Each runs in the namespace of its node, writes to a log of its own and ends with the lab. One that
ends by itself is not started again: the lab's status says so.
"""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

from kproxy.config import ProxyConfig
from kproxy.config.decode import to_values
from kproxy.errors import BadInput, KproxyError, Unsupported
from kproxy.kernel.process import ending_with_us
from kproxy.lab.hosts import LabNode
from kproxy.resident.logs import last_lines, open_log
from kproxy.resident.places import write_private

_GRACE_S = 5.0
_LAST_WORDS = 12  # lines


class NodeCommand(Struct, frozen=True):
    """The command of one node. `status`: of its end, as in subprocess; None while it runs."""

    pid: int
    status: int | None


def parse_command(text: str) -> tuple[str, ...]:
    """Return the words of a command line, quoted as for a shell. Raises BadInput."""
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise BadInput([f"--proxy-command: {error}"]) from None
    if not words:
        raise BadInput(["--proxy-command: there is no command in it"])
    return words


def command_to_run(text: str) -> tuple[str, ...]:
    """Return the words of a command whose program is there. Raises BadInput.

    A lab would be up otherwise, and no proxy in it.
    """
    words = parse_command(text)
    if "{" not in words[0] and not shutil.which(words[0]):
        raise BadInput([f"--proxy-command: there is no program {words[0]}"])
    return words


def filled(words: Iterable[str], values: Mapping[str, str]) -> list[str]:
    """Return the words with `{kubeconfig}`, `{config}` and `{node}` replaced by `values`, which
    have these names. No shell sees them.
    """
    name = re.compile("|".join(f"{{{each}}}" for each in values))
    return [name.sub(lambda found: values[found[0][1:-1]], each) for each in words]


def config_name(node: str) -> str:
    """Return the name of the configuration of a node's proxy, in the lab's place."""
    return f"config-{node}"


def write_configs(place: Path, configs: Mapping[str, ProxyConfig], kubeconfig: Path) -> None:
    """Write a KubeProxyConfiguration with that kubeconfig for each node. Raises Unsupported."""
    for node, config in configs.items():
        values = to_values(config)
        values["clientConnection"]["kubeconfig"] = str(kubeconfig)
        write_private(place / config_name(node), json.dumps(values, indent=2))


def log_name(node: str) -> str:
    """Return the name of the log of a node's command, in the lab's place."""
    return f"proxy-{node}.log"


class NodeCommands:
    """The running commands of all nodes. To be made by the main thread: they end with it."""

    def __init__(
        self,
        words: Iterable[str],
        nodes: Iterable[LabNode],
        *,
        place: Path,
        kubeconfig: Path,
        environment: Mapping[str, str],
    ) -> None:
        """Start the command on every node. The place has the nodes' configurations.

        Raises Unsupported if it cannot be started.
        """
        words = tuple(words)
        self._place = place
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        with ExitStack() as undo:
            undo.callback(self.close)
            for node in nodes:
                config = str(place / config_name(node.name))
                values = {"kubeconfig": str(kubeconfig), "config": config, "node": node.name}
                argv = filled(words, values)
                self._running[node.name] = _start(argv, node, place, environment)
            undo.pop_all()

    @property
    def all(self) -> Mapping[str, NodeCommand]:
        """Return the commands by node."""
        return {
            node: NodeCommand(process.pid, _status(process.pid))
            for node, process in self._running.items()
        }

    def check_start(self, within_s: float) -> None:
        """Return if all commands still run after so many seconds. Raises KproxyError with the last
        words of one that has ended.
        """
        with ExitStack() as undo:
            ends = []
            for process in self._running.values():
                ends.append(os.pidfd_open(process.pid))
                undo.callback(os.close, ends[-1])
            select.select(ends, [], [], within_s)
        self.check()

    def check(self) -> None:
        """Raise KproxyError with the last words of a command that has ended, if one has."""
        for node, command in self.all.items():
            if command.status is not None:
                said = last_lines(self._place / log_name(node), _LAST_WORDS)[0]
                words = said.decode(errors="replace").rstrip()
                raise KproxyError(
                    f"{node}: the command has ended, status {command.status}\n{words}".rstrip(),
                    remedy="a --proxy-command that runs in the foreground until it is stopped",
                )

    def close(self) -> None:
        """End all commands, and what they have started in their sessions."""
        for process in self._running.values():
            _signal(process, signal.SIGTERM)
        for process in self._running.values():
            _await_end(process.pid, _GRACE_S)
            _signal(process, signal.SIGKILL)
            process.wait()


def _start(
    argv: list[str], node: LabNode, place: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    log = open_log(place / log_name(node.name))
    try:
        with node.namespace.entered():
            return subprocess.Popen(
                [*ending_with_us("TERM", os.getpid()), *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(environment),
                start_new_session=True,
            )
    except OSError as error:
        raise Unsupported(f"--proxy-command on {node.name}: {error.strerror}") from None
    finally:
        os.close(log)


def _status(pid: int) -> int | None:
    """Return the status of a command that has ended; None while it runs.

    It is not reaped: until `close` has killed its session, the number of that belongs to nobody
    else.
    """
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _await_end(pid: int, timeout_s: float) -> None:
    pidfd = os.pidfd_open(pid)
    try:
        select.select([pidfd], [], [], timeout_s)
    finally:
        os.close(pidfd)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:  # all of its session have ended
        return
