"""The frames between a guest and its launcher: `kproxy.kernel.uml.guest`."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kproxy.kernel.uml.guest import Frames, Outbox, frame

FRAMES = st.lists(st.tuples(st.sampled_from([b"O", b"E", b"X"]), st.binary(max_size=300)))


@given(FRAMES, st.lists(st.integers(1, 50), min_size=1))
def test_frames_come_in_pieces_of_any_length(
    said: list[tuple[bytes, bytes]], lengths: list[int]
) -> None:
    line = b"".join(frame(kind, payload) for kind, payload in said)
    frames = Frames()
    heard: list[tuple[bytes, bytes]] = []
    while line:
        for length in lengths:
            piece, line = line[:length], line[length:]
            heard += frames.feed(piece)
    assert heard == said


@pytest.mark.parametrize("blocking", [True, False])
def test_an_outbox_never_waits_for_its_reader(blocking: bool) -> None:
    reads, writes = os.pipe()
    os.set_blocking(writes, blocking)
    data = os.urandom(10_000)
    box = Outbox(writes)
    assert not box
    box.put(data[:9000])
    box.put(data[9000:])
    got = b""
    while box:
        waiting = len(box)
        count = box.flush()
        assert 0 < count <= 4096
        assert len(box) == waiting - count
        got += os.read(reads, 1 << 16)
    assert got == data
    if not blocking:
        box.put(bytes(1 << 20))
        while box.flush():
            pass
        assert len(box) == (1 << 20) - (1 << 16)  # a full pipe, and no error
    os.close(reads)
    closed = Outbox(writes)
    closed.put(b"x")
    with pytest.raises(BrokenPipeError):
        closed.flush()
    os.close(writes)
