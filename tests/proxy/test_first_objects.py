"""The loop waits until a source has sent all that it had at first, played. Times are seconds."""

from __future__ import annotations

import threading

import pytest

from kproxy.proxy.events import Changed, SourceLost
from kproxy.store import Update
from tests.proxy.objects import DNS, WEB, node
from tests.proxy.playbook import AllSent, At, Begun, Change, Expect, Healthy, loop_of, play


def test_nothing_is_synced_before_all_is_known() -> None:
    play(
        loop_of(complete=False),
        [
            At(0.0, Begun(False)),
            At(3600.0, Healthy(True)),  # it does not wait for a sync
            At(3600.0, Begun(False)),
            At(3600.0, Change(node())),
            At(3601.0, Begun(True)),
            At(3602.0, Change(WEB)),
            At(7300.0, Expect()),
            At(7300.0, Healthy(True)),
            At(7300.0, AllSent()),
            At(7300.0, Expect("full")),
            At(7301.0, Change(DNS)),
            At(7301.0, Expect("default/dns:http")),
        ],
    )


def test_a_cluster_without_services_is_synced_as_well() -> None:
    script = [At(0.0, Change(node())), At(1.0, AllSent()), At(1.0, Expect("full"))]
    play(loop_of(complete=False), script)


def test_nobody_waits_for_a_loop_that_an_error_has_ended() -> None:
    loop = loop_of(complete=False).loop
    loop.send(SourceLost(OSError("inotify")))
    change = Changed(Update(upserts=(WEB,)))
    senders = [threading.Thread(target=loop.send, args=(change,)) for _ in range(1003)]
    for sender in senders:
        sender.start()
    with pytest.raises(OSError, match="inotify"):
        loop.run()
    for sender in senders:
        sender.join()
