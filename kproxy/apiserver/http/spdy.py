"""Frames of SPDY/3.1, in which kubectl multiplexes the streams of a connection. Pure.

`Decoder` turns bytes into frames, `Encoder` frames into bytes; each has the compression state of
one direction. Numbers of streams are odd if the client has opened them.

Neither kubectl nor the kubelet follows the windows of SPDY's flow control: they never send a
WINDOW_UPDATE, and ignore one (github.com/moby/spdystream). So nothing here keeps windows; who reads
slowly stops reading the connection.

Source: https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

from kproxy.errors import KproxyError

FIN = 0x01
PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, CANCEL = 1, 2, 3, 5

_VERSION = 3
_CONTROL = 0x80000000
_HEADER_BYTES = 8
_LONGEST_FRAME = 1 << 20  # a frame may have 16 MiB; spdystream's have 32 KiB at most
_LONGEST_HEADERS = 1 << 16  # uncompressed
_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS = 1, 2, 3, 4
_PING, _GOAWAY, _HEADERS, _WINDOW_UPDATE = 6, 7, 8, 9

# The dictionary of compression: words with their lengths, and then the text.
_WORD_LIST = (
    "options,head,post,put,delete,trace,accept,accept-charset,accept-encoding,accept-language,"
    "accept-ranges,age,allow,authorization,cache-control,connection,content-base,content-encoding,"
    "content-language,content-length,content-location,content-md5,content-range,content-type,date,"
    "etag,expect,expires,from,host,if-match,if-modified-since,if-none-match,if-range,"
    "if-unmodified-since,last-modified,location,max-forwards,pragma,proxy-authenticate,"
    "proxy-authorization,range,referer,retry-after,server,te,trailer,transfer-encoding,upgrade,"
    "user-agent,vary,via,warning,www-authenticate,method,get,status,200 OK,version,HTTP/1.1,url,"
    "public,set-cookie,keep-alive,origin"
)
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
    "Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,public"
    "privatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(struct.pack("!I", len(word)) + word.encode() for word in _WORD_LIST.split(","))
    + _TEXT.encode()
)


class BrokenSpdy(KproxyError):
    """The other side sends what is not SPDY/3.1, or larger than anything it needs."""


class SynStream(NamedTuple):
    """Opens a stream. Names of headers are in lower case; values of one name are joined by NUL."""

    stream: int
    headers: Mapping[str, str]
    fin: bool = False


class SynReply(NamedTuple):
    """Accepts a stream."""

    stream: int
    headers: Mapping[str, str]
    fin: bool = False


class Headers(NamedTuple):
    """More headers of a stream."""

    stream: int
    headers: Mapping[str, str]
    fin: bool = False


class Data(NamedTuple):
    """Data of a stream; `fin`: the sender will send no more on it."""

    stream: int
    data: bytes
    fin: bool = False


class RstStream(NamedTuple):
    """Ends a stream in both directions."""

    stream: int
    status: int


class Settings(NamedTuple):
    """Settings of a connection: numbers to values."""

    values: Mapping[int, int]


class Ping(NamedTuple):
    """Is to be sent back by who did not choose its number."""

    number: int


class GoAway(NamedTuple):
    """The sender accepts no more streams."""

    last_stream: int
    status: int = 0


class WindowUpdate(NamedTuple):
    """The sender would take so many more bytes of a stream."""

    stream: int
    bytes: int


Frame: TypeAlias = (
    SynStream | SynReply | Headers | Data | RstStream | Settings | Ping | GoAway | WindowUpdate
)


class Encoder:
    """Turns frames into bytes, which must be sent in the order in which they were made."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(zdict=DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        """Return a frame as it is sent. A frame of data has fewer than 16 MiB."""
        match frame:
            case Data(stream, data, fin):
                return struct.pack("!II", stream, _flags(fin) << 24 | len(data)) + data
            case SynStream(stream, headers, fin):
                body = struct.pack("!IIH", stream, 0, 0) + self._block(headers)
                return _control(_SYN_STREAM, body, _flags(fin))
            case SynReply(stream, headers, fin):
                body = struct.pack("!I", stream) + self._block(headers)
                return _control(_SYN_REPLY, body, _flags(fin))
            case Headers(stream, headers, fin):
                body = struct.pack("!I", stream) + self._block(headers)
                return _control(_HEADERS, body, _flags(fin))
            case RstStream(stream, status):
                return _control(_RST_STREAM, struct.pack("!II", stream, status))
            case Settings(values):
                entries = (struct.pack("!II", *entry) for entry in values.items())
                return _control(_SETTINGS, struct.pack("!I", len(values)) + b"".join(entries))
            case Ping(number):
                return _control(_PING, struct.pack("!I", number))
            case GoAway(last_stream, status):
                return _control(_GOAWAY, struct.pack("!II", last_stream, status))
            case WindowUpdate(stream, more):
                return _control(_WINDOW_UPDATE, struct.pack("!II", stream, more))

    def _block(self, headers: Mapping[str, str]) -> bytes:
        texts = [each.encode() for pair in headers.items() for each in pair]
        plain = struct.pack("!I", len(headers)) + b"".join(
            struct.pack("!I", len(each)) + each for each in texts
        )
        return self._compressor.compress(plain) + self._compressor.flush(zlib.Z_SYNC_FLUSH)


class Decoder:
    """Turns bytes into frames, however they are cut. After an error it cannot go on."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._decompressor = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete with more bytes; frames of unknown types are passed
        over. Raises BrokenSpdy.
        """
        self._received += data
        start = 0
        try:
            while len(self._received) - start >= _HEADER_BYTES:
                word, more = struct.unpack_from("!II", self._received, start)
                flags, length = more >> 24, more & 0xFFFFFF
                if length > _LONGEST_FRAME:
                    raise BrokenSpdy(f"a frame of {length} bytes")
                end = start + _HEADER_BYTES + length
                if len(self._received) < end:
                    return
                body = bytes(self._received[start + _HEADER_BYTES : end])
                start = end
                frame = self._frame(word, flags, body)
                if frame:
                    yield frame
        finally:
            del self._received[:start]

    def _frame(self, word: int, flags: int, body: bytes) -> Frame | None:
        fin = bool(flags & FIN)
        if not word & _CONTROL:
            return Data(word, body, fin)
        version, kind = word >> 16 & 0x7FFF, word & 0xFFFF
        if version != _VERSION:
            raise BrokenSpdy(f"version {version} of SPDY, not {_VERSION}")
        try:
            return self._control(kind, body, fin)
        except struct.error:
            raise BrokenSpdy(f"a frame of type {kind} of {len(body)} bytes") from None

    def _control(self, kind: int, body: bytes, fin: bool) -> Frame | None:
        match kind:
            case 1:
                stream, _, _ = struct.unpack_from("!IIH", body)
                return SynStream(stream & ~_CONTROL, self._headers(body[10:]), fin)
            case 2 | 8:
                (stream,) = struct.unpack_from("!I", body)
                reply = SynReply if kind == _SYN_REPLY else Headers
                return reply(stream & ~_CONTROL, self._headers(body[4:]), fin)
            case 3:
                stream, status = struct.unpack("!II", body)
                return RstStream(stream & ~_CONTROL, status)
            case 4:
                (number,) = struct.unpack_from("!I", body)
                entries = struct.iter_unpack("!II", body[4 : 4 + 8 * number])
                return Settings({entry & 0xFFFFFF: value for entry, value in entries})
            case 6:
                return Ping(*struct.unpack("!I", body))
            case 7:
                last_stream, status = struct.unpack("!II", body)
                return GoAway(last_stream & ~_CONTROL, status)
            case 9:
                stream, more = struct.unpack("!II", body)
                return WindowUpdate(stream & ~_CONTROL, more & ~_CONTROL)
        return None

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._decompressor.decompress(block, _LONGEST_HEADERS)
        except zlib.error:
            raise BrokenSpdy("headers that cannot be decompressed") from None
        if self._decompressor.unconsumed_tail:
            raise BrokenSpdy(f"headers of more than {_LONGEST_HEADERS} bytes")
        (number,) = struct.unpack_from("!I", plain)
        offset, texts = 4, []
        for _ in range(2 * number):
            (length,) = struct.unpack_from("!I", plain, offset)
            offset += 4 + length
            if offset > len(plain):
                raise BrokenSpdy("a header that is cut off")
            texts.append(plain[offset - length : offset].decode(errors="replace"))
        return dict(zip(texts[::2], texts[1::2], strict=True))


def _flags(fin: bool) -> int:
    return FIN if fin else 0


def _control(kind: int, body: bytes, flags: int = 0) -> bytes:
    word = _CONTROL | _VERSION << 16 | kind
    return struct.pack("!II", word, flags << 24 | len(body)) + body
