"""The numbers by which rules of legacy tables refer to ipsets.

Source: linux/netfilter/ipset/ip_set.h, struct ip_set_req_get_set; SO_IP_SET is what the programs
of iptables ask as well.
"""

from __future__ import annotations

import ctypes
import os
import re
import socket
import struct
from types import TracebackType
from typing import Self

_SO_IP_SET = 83
_BY_NAME, _BY_INDEX = 0x6, 0x7  # IP_SET_OP_GET_
_VERSION = 7  # IPSET_PROTOCOL
_REQUEST = struct.Struct("=II32s")
_NONE = 0xFFFF  # IPSET_INVALID_ID
_MATCHED = re.compile(r"(?<=--match-set )\S+")


class Indexes:
    """Names and numbers of ipsets in the calling thread's namespace, each asked for once."""

    def __init__(self) -> None:
        self._numbers: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._socket:
            self._socket.close()

    def in_rule(self, text: str) -> str:
        """Return a rule with numbers in place of names. Raises OSError if there is no such set."""
        return _MATCHED.sub(self._number, text)

    def out_of_rule(self, text: str) -> str:
        """Return a rule with names in place of numbers. Raises OSError."""
        return _MATCHED.sub(self._name, text)

    def _number(self, found: re.Match[str]) -> str:
        name = found[0]
        if name not in self._numbers:
            (number,) = struct.unpack_from("=H", self._ask(_BY_NAME, name.encode()))
            if number == _NONE:
                raise FileNotFoundError(f"there is no ipset {name}")
            self._numbers[name] = str(number)
        return self._numbers[name]

    def _name(self, found: re.Match[str]) -> str:
        number = found[0]
        if number not in self._names:
            answer = self._ask(_BY_INDEX, struct.pack("=H", int(number)))
            self._names[number] = answer.rstrip(b"\0").decode()
        if not self._names[number]:
            raise FileNotFoundError(f"there is no ipset of number {number}")
        return self._names[number]

    def _ask(self, operation: int, key: bytes) -> bytes:
        if not self._socket:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        buffer = ctypes.create_string_buffer(_REQUEST.pack(operation, _VERSION, key), _REQUEST.size)
        length = ctypes.c_uint32(_REQUEST.size)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.getsockopt(
            self._socket.fileno(), socket.IPPROTO_IP, _SO_IP_SET, buffer, ctypes.byref(length)
        ):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return bytes(_REQUEST.unpack(buffer.raw)[2])
