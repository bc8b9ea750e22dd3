"""Connections to ports of a pod over the channels of a WebSocket, two for each port of the request.

Messages begin with the number of a channel: 0 has the data of the first port, 1 its error, 2 the
data of the second. The first message of a channel is its port, two bytes, the lower one first.
Source: pkg/kubelet/cri-client streaming, portforward/websocket.go; the Python clients use it.
"""

from __future__ import annotations

import asyncio

from aiohttp import WSCloseCode, web

from kproxy.apiserver.http.channels import received
from kproxy.apiserver.http.port_forward import Connect, forward, offered_protocols
from kproxy.apiserver.http.streams import Query
from kproxy.controlplane.plane import Refused

_V4 = "v4.channel.k8s.io"
_LONGEST_MESSAGE = 4 << 20  # of the Python clients, who send 1 MiB at once
_UNREAD_MESSAGES = 4  # then the client waits
_GOODBYE_S = 5
_MOST_PORTS = 128  # a byte has the number of a channel


def asked(request: web.BaseRequest) -> bool:
    """Tell whether a client wants channels: it offers them, or no protocol at all."""
    names = offered_protocols(request)
    return _V4 in names or not names


def ports(query: Query) -> list[int]:
    """Return the ports of a request, as `ports=80,443` or repeated. Raises Refused."""
    words = [each for name, value in query if name == "ports" for each in value.split(",")]
    found = [int(each) for each in words if each.isascii() and each.isdecimal()]
    if not words:
        raise _bad('query parameter "ports" is required')
    if len(found) != len(words) or not all(0 < each < 1 << 16 for each in found):
        raise _bad(f'query parameter "ports" must have numbers of ports, not {",".join(words)!r}')
    if len(found) > _MOST_PORTS:
        raise _bad(f'query parameter "ports" has more than {_MOST_PORTS} ports')
    return found


async def serve(
    request: web.BaseRequest, pod: str, connect: Connect, wanted: list[int]
) -> web.StreamResponse:
    """Serve a connection to each port, until all are closed or the client closes its own.

    `pod`: a name for errors.
    """
    answer = web.WebSocketResponse(
        protocols=(_V4,), max_msg_size=_LONGEST_MESSAGE, compress=False, timeout=_GOODBYE_S
    )
    await answer.prepare(request)
    channels = [_Channel(answer, number) for number in range(2 * len(wanted))]
    for port, channel in zip((each for each in wanted for _ in "de"), channels, strict=True):
        await channel.write(port.to_bytes(2, "little"))
    pairs = zip(channels[::2], channels[1::2], wanted, strict=True)
    forwarding = [
        asyncio.ensure_future(forward(data, error, pod, connect, port))
        for data, error, port in pairs
    ]
    done = asyncio.ensure_future(asyncio.wait(forwarding))
    inward = asyncio.ensure_future(_receive(answer, channels[::2]))
    try:
        await asyncio.wait([done, inward], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in (inward, done, *forwarding):
            each.cancel()
        await asyncio.gather(inward, done, *forwarding, return_exceptions=True)
    await answer.close(code=WSCloseCode.OK)
    return answer


class _Channel:
    """A channel, as a stream. It has no end but that of the connection: when the pod has closed its
    side, the client cannot close the other one, so nothing more is read either.
    """

    def __init__(self, socket: web.WebSocketResponse, number: int) -> None:
        self._socket = socket
        self._number = bytes([number])
        self._unread: asyncio.Queue[bytes] = asyncio.Queue(_UNREAD_MESSAGES)

        self._over = False

    async def read(self) -> bytes:
        return b"" if self._over else await self._unread.get()

    async def write(self, data: bytes) -> None:
        await self._socket.send_bytes(self._number + data)

    async def finish(self) -> None:
        self._over = True
        while not self._unread.empty():
            self._unread.get_nowait()
        self._unread.put_nowait(b"")  # whoever reads

    reset = finish

    async def take(self, data: bytes) -> None:
        """Take what the client has sent; wait if much of it is unread."""
        if not self._over:
            await self._unread.put(data)


async def _receive(socket: web.WebSocketResponse, data_channels: list[_Channel]) -> None:
    while (data := await received(socket)) is not None:
        number, rest = divmod(data[0], 2) if data else (0, 1)
        if rest or number >= len(data_channels):
            continue
        if len(data) > 1:
            await data_channels[number].take(data[1:])


def _bad(words: str) -> Refused:
    return Refused(words, status=400, reason="BadRequest")
