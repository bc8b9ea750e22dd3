"""Frames of SPDY/3.1: as kubectl sends them, however they are cut, and what is none."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.apiserver.http.spdy import (
    DICTIONARY,
    BrokenSpdy,
    Data,
    Decoder,
    Encoder,
    Frame,
    GoAway,
    Headers,
    Ping,
    RstStream,
    Settings,
    SynReply,
    SynStream,
    WindowUpdate,
)

# What kubectl 1.20.2 sent for `echo hello | kubectl exec -i web -c answer -- cat`.
KUBECTL = bytes.fromhex(
    "800300010000002900000001000000000000"
    "78f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a6800000000ffff"
    "800300010000001700000003000000000000c22e555c92929907000000ffff"
    "800300010000001900000005000000000000c22ac5565c92925f5a02000000ffff"
    "800300010000001500000007000000000000c229975a5404000000ffff"
    "000000030000000668656c6c6f0a0000000301000000"
    "8003000300000008000000010000000580030003000000080000000500000005"
    "800300030000000800000007000000058003000700000008"
    "0000000000000000"
)
SENT = [
    SynStream(1, {"streamtype": "error"}),
    SynStream(3, {"streamtype": "stdin"}),
    SynStream(5, {"streamtype": "stdout"}),
    SynStream(7, {"streamtype": "stderr"}),
    Data(3, b"hello\n"),
    Data(3, b"", fin=True),
    RstStream(1, 5),
    RstStream(5, 5),
    RstStream(7, 5),
    GoAway(0),
]

numbers = st.integers(0, 2**31 - 1)
words = st.integers(0, 2**32 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
headers = st.dictionaries(texts, texts, max_size=5)
frames: st.SearchStrategy[Frame] = st.one_of(
    *(st.builds(kind, numbers, headers, st.booleans()) for kind in (SynStream, SynReply, Headers)),
    st.builds(Data, numbers, st.binary(max_size=300), st.booleans()),
    st.builds(RstStream, numbers, words),
    st.builds(Settings, st.dictionaries(st.integers(0, 2**24 - 1), words, max_size=4)),
    st.builds(Ping, words),
    st.builds(GoAway, numbers, words),
    st.builds(WindowUpdate, numbers, numbers),
)


def decoded(pieces: Iterable[bytes]) -> list[Frame]:
    decoder = Decoder()
    return [frame for piece in pieces for frame in decoder.feed(piece)]


def test_the_dictionary_is_the_specified_one() -> None:
    """By it zlib finds the dictionary of a stream (FDICT)."""
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


@pytest.mark.parametrize("size", [1, 3, 8, 50, len(KUBECTL)])
def test_what_kubectl_sends_is_read_however_it_is_cut(size: int) -> None:
    pieces = (KUBECTL[start : start + size] for start in range(0, len(KUBECTL), size))
    assert decoded(pieces) == SENT


@given(st.lists(frames, max_size=8), st.lists(st.integers(0, 2000), max_size=8))
def test_frames_survive(sent: list[Frame], cuts: list[int]) -> None:
    encoder = Encoder()
    data = b"".join(map(encoder.encode, sent))
    places = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    pieces = (data[start:end] for start, end in pairwise(places))
    assert decoded(pieces) == sent


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for(data: bytes) -> None:
    try:
        found = decoded([b"\x80\x03\x00\x01" + data])
    except BrokenSpdy:
        return
    assert len(found) <= len(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("8002000100000000", "version 2"),
        ("000000011fffffff", "a frame of"),
        ("8003000300000003000000", "type 3"),
        ("800300010000000c000000010000000000001234", "decompressed"),
    ],
)
def test_what_is_not_spdy_is_refused(data: str, words: str) -> None:
    with pytest.raises(BrokenSpdy, match=words):
        decoded([bytes.fromhex(data)])


def test_headers_of_a_bomb_are_refused() -> None:
    bomb = Encoder().encode(SynStream(1, {"a": "b" * (1 << 20)}))
    assert len(bomb) < 5000
    with pytest.raises(BrokenSpdy, match="headers of more than"):
        decoded([bomb])


def test_unknown_frames_are_passed_over() -> None:
    assert decoded([bytes.fromhex("8003006300000002abcd"), KUBECTL]) == SENT
