"""`kproxy exec`: runs a command in a pod through the API, as `kubectl exec` does.

The protocol is v5.channel.k8s.io over a WebSocket: in a binary message the first byte is the
channel. The command's exit status is ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import termios
import threading
import tty as terminal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import click

from kproxy.cli.api_client import access_of, client_of, complain
from kproxy.cli.completing import complete_lab, complete_namespace, complete_pod
from kproxy.cli.words import RunsWords
from kproxy.errors import BadInput, Unreachable
from kproxy.resident.api_client import Json, Refusal, refusal
from kproxy.resident.kubeconfig import Access, tls_context

if TYPE_CHECKING:
    from aiohttp import ClientWebSocketResponse

_PROTOCOL = "v5.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _STATUS, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255
_CHUNK = 1 << 15


@click.command(
    cls=RunsWords,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("-c", "--container", default="", help="The container, if the pod has several.")
@click.option("-i", "--stdin", "with_input", is_flag=True, help="Pass standard input on.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal; with -i.")
@click.option(
    "--lab", metavar="NAME", help="The lab, if there are several.", shell_complete=complete_lab
)
@click.option(
    "-n",
    "--namespace",
    default="default",
    metavar="NAME",
    help="The pod's namespace.",
    shell_complete=complete_namespace,
)
@click.argument("pod", shell_complete=complete_pod)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def exec(
    container: str,
    with_input: bool,
    tty: bool,
    lab: str | None,
    namespace: str,
    pod: str,
    command: tuple[str, ...],
) -> None:
    """Run a command in a pod of a lab, as `kubectl exec` does.

    \b
    Examples:
      kproxy exec shell -- curl -s http://web.default
      kproxy exec -it shell -- sh

    The exit status is the command's.
    """
    words = command[command[:1] == ("--",) :]
    if not words:
        raise click.UsageError("you must specify at least one command for the container")
    kind, _, name = pod.rpartition("/")
    if kind not in ("", "po", "pod", "pods"):
        raise BadInput([f"{pod}: exec needs the name of a pod"], remedy="kproxy get pods")
    access = access_of(lab)
    query = [("command", word) for word in words]
    query += [("container", container)] if container else []
    on_terminal = tty and os.isatty(0)
    streams = {"stdin": with_input, "stdout": True, "stderr": not tty, "tty": tty}
    query += [(name, "true") for name, wanted in streams.items() if wanted]
    target = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(name)}/exec"
    try:
        with _raw() if on_terminal and with_input else ExitStack():
            status = asyncio.run(
                _converse(access, f"{target}?{urlencode(query)}", with_input, on_terminal)
            )
    except Refusal as error:
        complain(error)
        sys.exit(1)
    sys.exit(status)


async def _converse(access: Access, target: str, with_input: bool, on_terminal: bool) -> int:
    """Carry the streams until the command has ended, and return its exit status.

    Raises Refusal, Unreachable.
    """
    import aiohttp

    headers = {"Authorization": f"Bearer {access.token}"}
    async with aiohttp.ClientSession() as session:
        try:
            socket = await session.ws_connect(
                access.url + target,
                protocols=(_PROTOCOL,),
                headers=headers,
                ssl=tls_context(access),
                max_msg_size=0,
            )
        except aiohttp.WSServerHandshakeError as error:
            raise await _why(access, target, error.status) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"the API at {access.url} does not answer: {error}") from None
        async with socket:
            with ExitStack() as listening:
                if with_input:
                    _send_input(socket)
                if on_terminal:
                    _send_sizes(socket, listening)
                return await _receive(socket)


async def _receive(socket: ClientWebSocketResponse) -> int:
    import aiohttp

    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel in (_STDOUT, _STDERR):
            _write(channel, data)
        elif channel == _STATUS:
            return _exit_status(json.loads(data))
    raise Unreachable("the connection broke off before the command had ended")


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _exit_status(status: Json) -> int:
    """Return the exit status that a Status of the server tells. Raises Refusal for other ends."""
    if status.get("status") == "Success":
        return 0
    if status.get("reason") == "NonZeroExitCode":
        for cause in (status.get("details") or {}).get("causes") or ():
            if cause.get("reason") == "ExitCode":
                click.echo(f"command terminated with exit code {cause['message']}", err=True)
                return int(cause["message"])
    raise refusal(int(status.get("code") or 500), status)


async def _why(access: Access, target: str, status: int) -> Refusal:
    """Return why a WebSocket was refused: asked again without one, for the words of the Status."""
    client = client_of(access)
    try:
        await asyncio.to_thread(client.ask, "GET", target)
    except Refusal as error:
        return error
    finally:
        client.close()
    return refusal(status, {})


def _send_input(socket: ClientWebSocketResponse) -> None:
    """Send standard input from now on, and its end.

    By a thread that nobody waits for: it may be reading for ever.
    """
    loop = asyncio.get_running_loop()

    def send(data: bytes) -> None:
        asyncio.run_coroutine_threadsafe(socket.send_bytes(data), loop).result()

    def pump() -> None:
        with suppress(OSError, RuntimeError):  # the command has ended, or the loop
            while data := os.read(0, _CHUNK):
                send(bytes([_STDIN]) + data)
            send(bytes([_CLOSE, _STDIN]))

    threading.Thread(target=pump, name="kproxy-stdin", daemon=True).start()


def _send_sizes(socket: ClientWebSocketResponse, listening: ExitStack) -> None:
    """Send the size of the terminal, now and when it changes."""
    loop = asyncio.get_running_loop()

    def send() -> None:
        size = os.get_terminal_size(0)
        values = json.dumps({"Width": size.columns, "Height": size.lines}).encode()
        sending.add(loop.create_task(socket.send_bytes(bytes([_RESIZE]) + values)))

    sending: set[asyncio.Task[None]] = set()
    loop.add_signal_handler(signal.SIGWINCH, send)
    listening.callback(loop.remove_signal_handler, signal.SIGWINCH)
    send()


@contextmanager
def _raw() -> Iterator[None]:
    """Pass every key on, also Ctrl-C, for the duration of the block."""
    former = termios.tcgetattr(0)
    terminal.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, former)
