"""The loop, played. Times are seconds."""

from __future__ import annotations

import logging
import threading

import pytest
from msgspec.structs import replace

from kproxy.config import IptablesSection, ProxyConfig, Seconds
from kproxy.errors import BadInput, KernelRefused
from kproxy.proxy.events import Changed, Rejected, SourceLost, Stop
from kproxy.store import Update
from tests.proxy.objects import DNS, WEB, WEB_ELSEWHERE, WEB_SLICE, node, service
from tests.proxy.playbook import (
    At,
    ComeAgain,
    Delete,
    Expect,
    Flush,
    Healthy,
    Invalid,
    Refuse,
    Upsert,
    loop_of,
    play,
)

WEB_PORT, DNS_PORT = "default/web:http", "default/dns:http"


def test_the_first_change_is_in_force_at_once() -> None:
    play(loop_of(), [At(5.0, Upsert(WEB)), At(5.0, Expect("full"))])


def test_a_burst_is_two_syncs_at_once_and_one_a_second_later() -> None:
    play(
        loop_of(),
        [
            At(0.0, Upsert(WEB)),
            At(0.0, Expect("full")),
            At(0.1, Upsert(DNS)),
            At(0.1, Expect(DNS_PORT)),
            At(0.2, Upsert(WEB_SLICE)),
            At(0.3, Upsert(WEB_ELSEWHERE)),
            At(0.9, Expect()),
            At(1.0, Expect(WEB_PORT)),
            At(60.0, Expect()),
        ],
    )


def test_the_second_counts_from_the_end_of_a_slow_sync() -> None:
    play(
        loop_of(sync_takes_s=3.0),
        [
            At(0.0, Upsert(WEB)),
            At(0.0, Expect("full")),  # until 3
            At(3.0, Upsert(DNS)),
            At(3.0, Expect(DNS_PORT)),  # until 6
            At(6.1, Upsert(WEB_SLICE)),
            At(6.9, Expect()),
            At(7.0, Expect(WEB_PORT)),
        ],
    )


def test_a_backend_may_ask_to_be_called_again() -> None:
    play(
        loop_of(),
        [
            At(0.0, ComeAgain(60.0)),
            At(0.0, Upsert(WEB)),
            At(0.0, Expect("full")),
            At(59.9, Expect()),
            At(60.0, Expect("")),
            At(70.0, Upsert(DNS)),
            At(70.0, Expect(DNS_PORT)),  # ... and it counts from the last one
            At(129.9, Expect()),
            At(130.0, Expect("")),
            At(131.0, ComeAgain(0.0)),
            At(190.0, Expect("")),
            At(500.0, Expect()),
        ],
    )


def test_a_wish_to_be_called_again_waits_for_its_turn() -> None:
    config = ProxyConfig(
        hostname_override="node-a", iptables=IptablesSection(min_sync_period=Seconds(10))
    )
    play(
        loop_of(config),
        [
            At(0.0, ComeAgain(1.0)),
            At(0.0, Upsert(WEB)),
            At(1.0, Expect("full", "")),
            At(9.9, Expect()),
            At(10.0, Expect("")),
        ],
    )


def test_leftovers_are_removed_after_the_first_success_and_then_as_often_as_they_ask() -> None:
    play(
        loop_of(leftovers=[60.0, KernelRefused("busy"), 60.0, 0.0]),
        [
            At(0.0, Refuse()),
            At(0.0, Upsert(WEB)),
            At(0.9, Expect("full")),  # refused
            At(1.0, Expect("full", "leftovers")),
            At(5.0, Upsert(DNS)),
            At(5.0, Expect(DNS_PORT)),
            At(60.9, Expect()),
            At(61.0, Expect("leftovers")),  # refused
            At(90.9, Expect()),
            At(91.0, Expect("leftovers")),
            At(150.9, Expect()),
            At(151.0, Expect("leftovers")),
            At(3000.0, Expect()),
        ],
    )


def test_what_changes_nothing_is_no_sync() -> None:
    labelled = replace(WEB, metadata=replace(WEB.metadata, labels={"a": "b"}))
    play(
        loop_of(),
        [
            At(0.0, Upsert(WEB)),
            At(0.0, Expect("full")),
            At(5.0, Upsert(WEB)),
            At(10.0, Upsert(labelled)),
            At(15.0, Upsert(node("node-b"))),
            At(20.0, Expect()),
        ],
    )


def test_what_changes_nothing_does_not_use_up_the_burst() -> None:
    play(
        loop_of(),
        [
            At(0.0, Upsert(WEB)),
            At(0.0, Expect("full")),
            At(5.0, Upsert(WEB)),
            At(5.0, Upsert(WEB)),
            At(5.0, Upsert(DNS)),
            At(5.0, Expect(DNS_PORT)),
        ],
    )


def test_a_removal_is_a_change() -> None:
    play(
        loop_of(),
        [
            At(0.0, Upsert(WEB)),
            At(0.0, Expect("full")),
            At(5.0, Delete(WEB)),
            At(5.0, Expect(WEB_PORT)),
        ],
    )


def test_a_failed_sync_is_still_due_and_the_next_is_full() -> None:
    stage = loop_of()
    play(
        stage,
        [
            At(0.0, Upsert(WEB)),
            At(0.0, Expect("full")),
            At(10.0, Refuse(3)),
            At(10.0, Upsert(DNS)),
            At(10.0, Expect(DNS_PORT)),  # refused
            At(10.9, Expect()),
            At(11.0, Expect("full")),  # refused
            At(12.9, Expect()),
            At(13.0, Expect("full")),  # refused
            At(16.9, Expect()),
            At(17.0, Expect("full")),
            At(60.0, Expect()),
        ],
    )
    assert stage.loop.counters.failed_syncs == 3
    assert len(stage.backend.read()["services"]) == 2


def test_retries_come_at_least_every_sync_period() -> None:
    config = ProxyConfig(
        hostname_override="node-a", iptables=IptablesSection(sync_period=Seconds(3))
    )
    play(
        loop_of(config),
        [
            At(0.0, Refuse(5)),
            At(0.0, Upsert(WEB)),
            At(3.0, Expect("full", "full", "full")),  # at 0, 1, 3
            At(6.0, Expect("full")),
            At(9.0, Expect("full")),
            At(12.0, Expect("full")),
            At(60.0, Expect()),
        ],
    )


def test_flushed_rules_are_back_within_a_second() -> None:
    stage = loop_of()
    play(
        stage,
        [
            At(0.0, Upsert(WEB)),
            At(0.0, Expect("full")),
            At(30.5, Flush()),
            At(31.5, Expect("full")),
            At(60.0, Expect()),
        ],
    )
    assert stage.loop.counters.repairs == 1
    assert any(stage.backend.read().values())


def test_a_flush_before_the_first_success_is_no_damage() -> None:
    stage = loop_of()
    play(
        stage,
        [
            At(0.0, Refuse(2)),
            At(0.0, Upsert(WEB)),
            At(3.0, Expect("full", "full", "full")),
            At(9.0, Expect()),
        ],
    )
    assert stage.loop.counters.repairs == 0


def test_a_periodic_full_sync_happens_among_changes() -> None:
    play(
        loop_of(full_interval_s=100.0),
        [
            At(0.0, Upsert(WEB)),
            At(0.0, Expect("full")),
            At(90.0, Upsert(DNS)),
            At(90.0, Expect(DNS_PORT)),
            At(99.9, Expect()),
            At(100.0, Expect("full")),
        ],
    )


def test_an_invalid_version_changes_nothing_and_is_logged_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = loop_of()
    with caplog.at_level(logging.INFO, "kproxy"):
        play(
            stage,
            [
                At(0.0, Upsert(WEB)),
                At(0.0, Expect("full")),
                At(5.0, Invalid("web.yaml:1: port: 0")),
                At(6.0, Invalid("web.yaml:1: kind: missing")),
                At(60.0, Expect()),
            ],
        )
    assert any(stage.backend.read().values())
    assert stage.loop.counters.rejected == 2
    rejected = "rejected invalid input, the last good version stays in force"
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        f"{rejected} (rejection 1): web.yaml:1: port: 0",
        f"{rejected} (rejection 2): web.yaml:1: kind: missing",
    ]


def test_the_last_services_stay(caplog: pytest.LogCaptureFixture) -> None:
    stage = loop_of(allow_empty=False)
    play(
        stage,
        [
            At(0.0, Upsert(WEB)),
            At(0.0, Expect("full")),
            At(5.0, Upsert(DNS)),
            At(9.0, Expect(DNS_PORT)),
            At(10.0, Delete(DNS)),  # another one is left
            At(14.0, Expect(DNS_PORT)),
            At(20.0, Delete(WEB)),
            At(21.0, Upsert(node())),  # waits for a Service as well
            At(29.0, Expect()),
            At(30.0, Upsert(DNS)),
            At(34.0, Expect("full")),
        ],
    )
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "no Service in the manifests: 1 Service stays in force; --allow-empty removes it"
    ]


def test_the_last_services_go_if_that_is_allowed() -> None:
    script = [
        At(0.0, Upsert(WEB)),
        At(0.0, Expect("full")),
        At(5.0, Delete(WEB)),
        At(9.0, Expect(WEB_PORT)),
    ]
    play(loop_of(allow_empty=True), script)


def test_the_log_says_when_it_is_ready_what_failed_and_that_it_is_well_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "kproxy"):
        play(
            loop_of(sync_takes_s=0.25),
            [
                At(0.0, Upsert(WEB)),
                At(1.0, Expect("full")),
                At(10.0, Refuse()),
                At(10.0, Upsert(DNS)),
                At(20.0, Expect(DNS_PORT, "full")),
            ],
        )
    assert [record.getMessage() for record in caplog.records] == [
        "ready: mode iptables, IPv4, 1 services, first sync 0.250 s",
        "sync failed (1 in a row), next try within 1.0 s: IPv4: restore: exit status 1 (try x)",
        "synced again after 1 failures",
        "synced in 0.250 s: 2 rules, 1 transactions, in full",
    ]


def test_a_node_that_loses_its_pod_cidr_keeps_its_rules() -> None:
    config = ProxyConfig(hostname_override="node-a", detect_local_mode="NodeCIDR")
    stage = loop_of(config)
    play(
        stage,
        [
            At(0.0, Upsert(node())),
            At(0.0, Expect("full")),
            At(5.0, Delete(node())),
            At(5.0, Expect()),
            At(10.0, Upsert(WEB)),
            At(10.0, Expect(WEB_PORT)),
            At(15.0, Upsert(node(pod_cidr="10.244.9.0/24"))),
            At(15.0, Expect("full")),
        ],
    )
    assert stage.loop.counters.rejected == 1


def test_a_start_without_settings_is_refused() -> None:
    stage = loop_of(ProxyConfig(hostname_override="node-a", detect_local_mode="NodeCIDR"))
    Upsert(service("web", "10.96.0.1"))(stage)
    with pytest.raises(BadInput, match=r"no Node node-a with spec.podCIDRs"):
        stage.advance(0.0)


def test_stop_ends_the_loop_and_leaves_the_rules() -> None:
    stage = loop_of()
    Upsert(WEB)(stage)
    stage.advance(0.0)
    stage.loop.send(Stop())
    stage.loop.run()
    assert any(stage.backend.read().values())


def test_a_source_that_is_faster_than_the_loop_is_slowed_down() -> None:
    loop = loop_of().loop
    change = Changed(Update(upserts=(WEB,)))
    for _ in range(1000):
        loop.send(change)
    one_more = threading.Thread(target=loop.send, args=(change,))
    one_more.start()
    loop.send(Rejected(("what must be known at once never waits",)))
    one_more.join(timeout=0.1)
    waited = one_more.is_alive()
    loop.step()
    one_more.join()
    assert waited


def test_nobody_waits_for_a_loop_that_has_ended() -> None:
    loop = loop_of().loop
    change = Changed(Update(upserts=(WEB,)))
    senders = [threading.Thread(target=loop.send, args=(change,)) for _ in range(1003)]
    for sender in senders:
        sender.start()
    loop.send(Stop())
    loop.step()
    for sender in senders:
        sender.join()
    assert loop.step() == 0.0


def test_a_lost_source_ends_the_loop_with_its_error() -> None:
    stage = loop_of()
    stage.loop.send(SourceLost(OSError("inotify")))
    with pytest.raises(OSError, match="inotify"):
        stage.loop.run()


def test_looking_for_damage_takes_a_small_share_of_the_time() -> None:
    stage = loop_of()
    looks: list[float] = []

    def look() -> None:
        looks.append(stage.now)
        stage.now += 0.5

    stage.backend.on_look = look
    play(stage, [At(0.0, Upsert(WEB)), At(0.0, Expect("full")), At(30.0, Expect())])
    assert looks == pytest.approx([1.0, 11.5, 22.0])


def test_healthy_until_a_change_has_waited_for_two_sync_periods() -> None:
    play(
        loop_of(),
        [
            At(0.0, Upsert(WEB)),
            At(0.0, Expect("full")),
            At(1000.0, Healthy(True)),  # without requests it is healthy
            At(1000.0, Refuse(times=7)),  # retried after 1, 2, 4, 8, 16, 30 s ...
            At(1000.0, Upsert(DNS)),
            At(1059.9, Healthy(True)),
            At(1060.0, Healthy(False)),
            At(1060.0, Upsert(WEB_SLICE)),  # does not start again
            At(1060.0, Healthy(False)),
            At(1092.0, Healthy(True)),
            At(1092.0, Expect(DNS_PORT, *["full"] * 7)),
        ],
    )
