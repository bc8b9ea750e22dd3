"""A lab on user-mode Linux: its process is in a guest, and one on the host leads there.

    host: background process of `up`            guest: `up` once more, as the guest's command
      control socket, API's port ── Mux ── standard streams ── Mux ── control socket, API
                                    (kproxy.kernel.uml)

`GuestResidence` has the methods of `Residence`, for the process on the host; `live` is what `up`
does in the guest. The guest ends when its standard input does, so it does not outlive the process
on the host, however that ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from contextlib import ExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, Self

from msgspec.structs import replace

from kproxy.errors import BadInput, KernelRefused, KproxyError
from kproxy.proxy.control_loop import DRIFT_INTERVAL_S
from kproxy.resident.access import listen_outside
from kproxy.resident.cleaning import end_marked
from kproxy.resident.logs import LOG, last_lines
from kproxy.resident.mux import Ends, Mux
from kproxy.resident.orders import Order
from kproxy.resident.places import Claim, claim, write_private
from kproxy.resident.records import INSIDE, KUBECONFIG, MARK, SOCKET, TOKEN, Record, new_record

_TOLD = "KPROXY_GUEST"  # what the process on the host tells that in the guest, as JSON
_CONTROL, _API = "control", "api"
_FILES = (KUBECONFIG, INSIDE, TOKEN, "ca.crt")
_BOOT_S = 120.0
_END_S = 20.0
_LAST_WORDS = 12  # lines of the log


class GuestResidence:
    """The process on the host of a lab in a guest. A context manager, as `Residence`."""

    def __init__(self, order: Order, place: Claim, record: Record) -> None:
        self._order, self._place, self._record = order, place, record
        self._stop = threading.Event()
        self._first: Future[dict[str, Any]] = Future()  # what the guest says first
        self._status: dict[str, Any] = {}
        self._enough = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._mux = Mux(_refuse, lambda said: self._first.set_result(json.loads(said)))
        self._thread = threading.Thread(target=self._carry, name="kproxy-guest", daemon=True)

    def __enter__(self) -> Self:
        """Boot the guest and wait until its lab is up. Raises KernelRefused, and what the lab does,
        BadInput if the API's port is taken.
        """
        self._sockets = listen_outside(self._order.api_port)
        self._guest = self._boot(self._sockets[0].getsockname()[1])
        self._thread.start()
        with ExitStack() as undo:
            undo.callback(self._end)
            try:
                said = self._first.result(_BOOT_S)
            except NotInTime:
                late = f"the lab was not up in its guest within {_BOOT_S:g} s"
                raise KernelRefused(late) from None
            if "problems" in said:
                raise BadInput(said["problems"], remedy=said["remedy"])
            if "error" in said:
                raise KproxyError(said["error"], remedy=said["remedy"])
            for name in _FILES:
                write_private(self._place.path / name, said["files"][name])
            undo.pop_all()
        self._status = said["ready"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def run(self, interval_s: float) -> None:
        """Return when the guest has ended, when told to stop, or without a place to be found at."""
        while not self._stop.wait(interval_s) and self._place.is_there():
            self._place.trim_logs()

    def stop(self) -> None:
        """Let `run` return. May be called by a signal's handler."""
        self._stop.set()

    def status(self) -> dict[str, Any]:
        """Return what the guest has told of its lab when it was up."""
        return self._status

    def _boot(self, port: int) -> subprocess.Popen[bytes]:
        told = {
            "port": port,
            "id": self._record.id,
            "pid": self._record.pid,
            "place": str(self._place.path),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "kproxy.kernel.uml", "--kernel", "uml", *self._order.argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self._order.folder,
            env={**os.environ, _TOLD: json.dumps(told), MARK: self._record.id},
            process_group=0,
        )

    def _carry(self) -> None:
        """Be the thread of the connections."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()
            self._guest.wait()
            if not self._first.done():
                # What it has written to standard error is in the log, all of it by now.
                said = last_lines(self._place.path / LOG, _LAST_WORDS)[0].decode(errors="replace")
                ended = KernelRefused(f"the guest has ended\n{said}".rstrip())
                self._first.set_exception(ended)
            self._stop.set()

    async def _serve(self) -> None:
        assert self._guest.stdin
        assert self._guest.stdout
        servers: list[asyncio.Server] = [
            await asyncio.start_server(partial(self._mux.accept, _API), sock=each)
            for each in self._sockets
        ]
        path = f"/proc/self/fd/{self._place.fileno()}/{SOCKET}"
        servers.append(await asyncio.start_unix_server(partial(self._mux.accept, _CONTROL), path))
        ends = os.dup(self._guest.stdout.fileno()), os.dup(self._guest.stdin.fileno())
        self._guest.stdin.close()
        self._guest.stdout.close()
        carrying = asyncio.ensure_future(self._mux.run(*ends))
        enough = asyncio.ensure_future(self._enough.wait())
        await asyncio.wait((carrying, enough), return_when=asyncio.FIRST_COMPLETED)
        enough.cancel()
        for server in servers:
            server.close()
        self._mux.finish()
        with suppress(TimeoutError):
            await asyncio.wait_for(carrying, _END_S)

    def _end(self) -> None:
        """End the guest: its command reads the end of its input."""
        with suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._enough.set)
        self._thread.join()
        try:
            self._guest.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._guest.kill()
            self._guest.wait()
        end_marked(self._record.id)  # a guest whose keeper was killed runs on


def is_told() -> bool:
    """Tell whether this `up` is the one in the guest."""
    return _TOLD in os.environ


def live(order: Order) -> NoReturn:
    """Run the lab in the guest, to its end, and exit."""
    from kproxy.resident.residence import Residence

    told = json.loads(os.environ.pop(_TOLD))
    ends = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # all that is printed goes to the log
    place = claim(order.spec.name)
    assert place, "a guest has one lab"
    record = new_record(order, pid=told["pid"], mark=told["id"], place=told["place"])
    residence = Residence(replace(order, api_port=told["port"]), place, record)
    loop = asyncio.new_event_loop()
    mux = Mux(partial(_connect, place, told["port"]), lambda _: None)

    def carry() -> None:
        loop.run_until_complete(mux.run(*ends))
        residence.stop()

    threading.Thread(target=carry, name="kproxy-host", daemon=True).start()

    def say(message: dict[str, Any]) -> None:
        asyncio.run_coroutine_threadsafe(mux.say(json.dumps(message).encode()), loop).result()

    try:
        with residence:
            files = {name: (place.path / name).read_text() for name in _FILES}
            say({"ready": residence.status(), "files": files})
            residence.run(DRIFT_INTERVAL_S)
    except BadInput as error:
        say({"problems": error.problems, "remedy": error.remedy})
    except KproxyError as error:
        say({"error": str(error), "remedy": error.remedy})
    sys.stdout.flush()
    os._exit(0)


async def _connect(place: Claim, port: int, target: str) -> Ends:
    if target == _API:
        return await asyncio.open_connection("127.0.0.1", port)
    return await asyncio.open_unix_connection(str(place.path / SOCKET))


async def _refuse(_target: str) -> Ends:
    raise ConnectionRefusedError("a guest opens no connections")
