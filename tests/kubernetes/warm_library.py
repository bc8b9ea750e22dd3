"""The client library in a fork of a process that has imported it, for tests of what it says.

It takes 0.4 s to import, and most tests of this folder ask it several times.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kproxy.kubernetes.library import answered
from tests.warm_kproxy import CONTEXT, fork_with

fork_with(
    "kproxy.kubernetes.library",
    "kubernetes.client",
    "kubernetes.config.exec_provider",
    "kubernetes.config.incluster_config",
    "kubernetes.config.kube_config",
)


def answer_of_fork(request: bytes) -> bytes:
    """Return what a process of the library writes; nothing if it ends without an answer."""
    reader, writer = CONTEXT.Pipe(duplex=False)
    with reader, writer:
        process = CONTEXT.Process(
            target=_answer, args=(request, dict(os.environ), Path.cwd(), writer), daemon=True
        )
        process.start()
        writer.close()
        try:
            return reader.recv_bytes()
        except EOFError:
            return b""
        finally:
            process.join()


def _answer(
    request: bytes, env: Mapping[str, str], cwd: Path, writer: Connection[Any, Any]
) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    writer.send_bytes(answered(request))
