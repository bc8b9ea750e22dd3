"""A command in a pod, its streams joined to those of a client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from kproxy.apiserver.http.access import Process
from kproxy.apiserver.http.channels import Channel, Channels
from kproxy.apiserver.http.descriptors import chunks, readable, write_all
from kproxy.controlplane.plane import Json
from kproxy.errors import KproxyError

_END_OF_INPUT = b"\x04"  # to a terminal


async def run(
    channels: Channels,
    start: Callable[[], Process],
    *,
    tty: bool,
    ended: Callable[[int], None] | None = None,
) -> None:
    """Start a command and join its streams until it has ended, and all that had its output has.

    A command that cannot be started is told the client as a status, as the exit status is, unless
    that is for `ended`, which is called in a thread before the client is told. If the client goes,
    or this is cancelled, the command is killed.
    """
    try:
        process = await _started(start)
    except KproxyError as error:
        await channels.finish(_failure(str(error)))
        return
    try:
        outputs = [
            asyncio.ensure_future(_copy(process.stdout, Channel.STDOUT, channels)),
            asyncio.ensure_future(_copy(process.stderr, Channel.STDERR, channels)),
        ]
        inward = asyncio.ensure_future(channels.receive(_Sink(process, tty=tty)))
        done = asyncio.ensure_future(_ended(outputs, process))
        try:
            await asyncio.wait({inward, done}, return_when=asyncio.FIRST_COMPLETED)
            if done.done():
                inward.cancel()  # only one may receive: `finish` does, too
                await asyncio.wait({inward})
                if ended:
                    await asyncio.to_thread(ended, done.result())
                await channels.finish(_exited(0 if ended else done.result()))
        finally:
            for each in (inward, done, *outputs):
                each.cancel()
            await asyncio.gather(inward, done, *outputs, return_exceptions=True)
    finally:
        process.close()


async def _started(start: Callable[[], Process]) -> Process:
    """Start it in a thread; if this is cancelled meanwhile, it ends as soon as it has started."""
    starting = asyncio.ensure_future(asyncio.to_thread(start))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_close_if_started)
        raise


def _close_if_started(starting: asyncio.Future[Process]) -> None:
    if not starting.cancelled() and not starting.exception():
        starting.result().close()


async def _copy(descriptor: int, channel: Channel, channels: Channels) -> None:
    if descriptor >= 0:
        async for data in chunks(descriptor):
            await channels.send(channel, data)


async def _ended(outputs: Iterable[asyncio.Future[None]], process: Process) -> int:
    await asyncio.gather(*outputs)
    await readable(process.fileno())
    return process.status()


class _Sink:
    """Passes on to a command what a client sends."""

    def __init__(self, process: Process, *, tty: bool) -> None:
        self._process = process
        self._tty = tty

    async def stdin(self, data: bytes) -> None:
        if self._process.stdin >= 0 and not await write_all(self._process.stdin, data):
            self._process.close_stdin()  # nobody reads it any more: the rest is for nobody

    async def end_of_stdin(self) -> None:
        if self._tty:
            await self.stdin(_END_OF_INPUT)
        else:
            self._process.close_stdin()

    def resize(self, columns: int, rows: int) -> None:
        self._process.resize(columns, rows)


def _exited(code: int) -> Json:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _failure(words: str) -> Json:
    said = f"error executing command in container: {words}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {said}",
        "reason": "InternalError",
        "details": {"causes": [{"message": said}]},
        "code": 500,
    }
