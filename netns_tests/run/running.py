"""`kproxy run` as users start it: a process, in a namespace, on files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kproxy.kernel.netns import Namespace
from kproxy.kernel.process import run
from tests.warm_kproxy import Kproxy, run_kproxy

# For a condition; only a failing test waits that long. On a busy machine a check for drift takes
# seconds, and the next one follows after 20 times that: kproxy.proxy.control_loop.DRIFT_SHARE.
PATIENCE_S = 90.0
FLAGS = ("--hostname-override=node-a",)


def until(what: str, condition: Callable[[], object], *, pause_s: float = 0.02) -> None:
    """Wait for the condition, which is checked again after each pause."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"did not happen: {what}")
        time.sleep(pause_s)


class Running:
    """A running `kproxy run`. `log` is what it has written to standard error."""

    def __init__(self, process: subprocess.Popen[str] | Kproxy) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        self.lines.extend(self.process.stderr)

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def says(self, text: str) -> None:
        until(f"{text!r} in the log", lambda: text in self.log or self.process.poll() is not None)
        assert text in self.log, self.log

    @contextmanager
    def halted(self) -> Iterator[None]:
        """Keep it from doing anything while the block lasts."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            until("it stands still", self._stands_still)
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def _stands_still(self) -> bool:
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        return all((each / "stat").read_text().rpartition(") ")[2][0] == "T" for each in threads)

    def ended(self) -> int:
        """Return the exit status of a process that has ended; its log is complete then."""
        status = self.process.wait(PATIENCE_S)
        self._reader.join()
        return status

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it and return the exit status."""
        self.process.send_signal(number)
        return self.ended()


class Place:
    """A namespace with a name, a folder for manifests, and ways to start kproxy on them."""

    def __init__(self, namespace: Namespace, name: str, folder: Path) -> None:
        self.namespace = namespace
        self.name = name
        self.folder = folder
        self.environment = dict(os.environ)
        self.python: str | None = None  # starts kproxy; None: it is a fork that has it imported
        self.cwd: Path | None = None  # where kproxy is started; None: the folder of the tests
        self._running: list[Running] = []

    def argv(self, *arguments: str) -> list[str]:
        return [self.python or sys.executable, "-m", "kproxy", *self._run(*arguments)]

    def _run(self, *arguments: str) -> list[str]:
        return ["run", "--netns", self.name, *arguments]

    def once(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command that ends by itself."""
        if self.python is None:
            return run_kproxy(
                self._run(*FLAGS, *arguments),
                env=self.environment,
                cwd=self.cwd,
                timeout=PATIENCE_S,
            )
        return subprocess.run(
            self.argv(*FLAGS, *arguments),
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
            cwd=self.cwd,
            timeout=PATIENCE_S,
        )

    def start(self, *arguments: str) -> Running:
        """Start a proxy; it is ready when this returns."""
        running = self.start_without_waiting(*arguments)
        running.says("ready:")
        return running

    def start_without_waiting(self, *arguments: str) -> Running:
        process: subprocess.Popen[str] | Kproxy
        if self.python is None:
            arguments = (*FLAGS, *arguments)
            process = Kproxy(self._run(*arguments), env=self.environment, cwd=self.cwd)
        else:
            process = subprocess.Popen(
                self.argv(*FLAGS, *arguments),
                stderr=subprocess.PIPE,
                text=True,
                env=self.environment,
                cwd=self.cwd,
            )
        running = Running(process)
        self._running.append(running)
        return running

    def write(self, name: str, text: str) -> Path:
        """Put a whole new file in place, as editors do."""
        path = self.folder / name
        fresh = self.folder / f".{name}.new"
        fresh.write_text(text)
        fresh.rename(path)
        return path

    def tool(self, *argv: str) -> str:
        return self.namespace.run(lambda: run(argv))

    def rules(self) -> str:
        """Return all rules of both families, without counters and comments of the tool."""
        saved = self.tool("iptables-save") + self.tool("ip6tables-save")
        lines = [line.split(" [")[0] for line in saved.splitlines() if not line.startswith("#")]
        return "\n".join(lines)

    def end(self) -> None:
        for running in self._running:
            if running.process.poll() is None:
                running.process.kill()
            running.process.wait()
            assert running.process.stderr
            running._reader.join()
            running.process.stderr.close()
