"""A reader's session: one bash on a machine whose labs are its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import IO

from netns_tests.up.machine import private_machine

ROOT = Path(__file__).parents[2]
COLUMNS = 100
LONGEST = "300"  # seconds of a page; kubectl may wait for ever for what does not come


class Session:
    """Types commands. Each has no input, and its output and errors are one stream."""

    def __init__(self, typed: IO[str], printed: IO[str]) -> None:
        self._typed = typed
        self._printed = printed

    def type(self, command: str) -> str:
        """Return what a command prints; a last line that is not ended gets its end.

        Raises EOFError if the shell ends, as it does after `LONGEST`.
        """
        end = f"end-{token_hex(8)}"
        self._typed.write(f"{{\n{command}\n}} </dev/null\nprintf '\\n%s\\n' {end}\n")
        self._typed.flush()
        output = ""
        while not output.endswith(f"\n{end}\n"):
            line = self._printed.readline()
            if not line:
                raise EOFError(f"the shell ended in: {command}{output}")
            output += line
        output = output.removesuffix(f"\n{end}\n")
        return output if not output or output.endswith("\n") else f"{output}\n"


@contextmanager
def session(home: Path) -> Iterator[Session]:
    """Yield a session with kproxy and kubectl on its PATH and an empty home.

    Its labs end with it.
    """
    with (
        private_machine() as machine,
        subprocess.Popen(
            machine.argv("timeout", LONGEST, "bash", "--norc", "--noprofile"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=_environment(home),
        ) as shell,
    ):
        assert shell.stdin
        assert shell.stdout
        yield Session(shell.stdin, shell.stdout)
        shell.stdin.close()


def _environment(home: Path) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**others, "PATH": path, "HOME": str(home), "COLUMNS": str(COLUMNS), "LC_ALL": "C.UTF-8"}
