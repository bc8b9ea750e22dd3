"""The pages of the metrics server, without sockets."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import yaml
from msgspec.structs import replace

from kproxy.backend import ModeConfig, ModeConfigs
from kproxy.config import ProxyConfig
from kproxy.config.decode import to_values
from kproxy.loop.http import Request
from kproxy.serve.pages import Pages, Ping, counted, debug_pages
from kproxy.serve.status_pages import Facts, configz, flagz, plain, statusz
from kproxy.versions import Version

FACTS = Facts(
    started_s=1_767_323_045.5,
    python="3.11.7",
    version="0.1.0",
    emulate=Version.V1_37,
    paths=("/configz", "/metrics"),
)
LATER_S = FACTS.started_s + 3723


def request(target: str = "/", method: str = "GET", body: bytes = b"", **headers: str) -> Request:
    return Request(method=method, target=target, version="1.1", headers=headers, body=body)


def test_paths_are_exact_and_queries_do_not_count() -> None:
    pages = Pages(
        {"/a": lambda _request: plain(200, "a"), "/a/b": lambda _request: plain(200, "b")}
    )
    asked = {
        target: pages.respond(request(target)).body
        for target in ("/a", "/a?x=/a/b", "/a/b", "/a/", "/", "/b", "*")
    }
    none = b"404 page not found\n"
    assert asked == {
        "/a": b"a",
        "/a?x=/a/b": b"a",
        "/a/b": b"b",
        "/a/": none,
        "/": none,
        "/b": none,
        "*": none,
    }
    assert pages.paths == ("/a",)


@pytest.mark.parametrize(
    "target", ["/%61", "/%61?x=%62", "http://node-a:10249/a", "http://[fd00::1]:10249/a?x=/b"]
)
def test_a_path_may_be_encoded_and_a_target_absolute(target: str) -> None:
    pages = Pages({"/a": lambda _request: plain(200, "a")})
    assert pages.respond(request(target)).body == b"a"


def test_ping() -> None:
    ping = Ping()
    assert ping.answer(request("/healthz")).body == b"ok"
    verbose = b"[+]ping ok\nhealthz check passed\n"
    assert ping.answer(request("/healthz?verbose")).body == verbose
    assert ping.answer(request("/healthz?verbose=1")).body == verbose
    assert ping.successes == 3


def test_answers_are_counted_by_status() -> None:
    counts: Counter[int] = Counter()
    answers = iter([plain(200, ""), plain(503, ""), plain(503, "")])
    page = counted(lambda _request: next(answers), counts)
    for status in (200, 503, 503):
        assert page(request()).status == status
    assert counts == {200: 1, 503: 2}


def test_statusz_for_people() -> None:
    for accept in ("", "text/plain", "*/*", "image/png, */*;q=0.1"):
        answer = statusz(request(accept=accept), FACTS, LATER_S)
        assert answer.headers[0] == ("Content-Type", "text/plain; charset=utf-8")
        lines = answer.body.decode().splitlines()
        assert lines[:2] == ["", "kube-proxy statusz"]
        assert lines[4:] == [
            "Started: Fri Jan  2 03:04:05 UTC 2026",
            "Up: 1 hr 02 min 03 sec",
            "Go version: none (Python 3.11.7)",
            "Binary version: 0.1.0",
            "Emulation version: 1.37",
            "Paths: /configz /metrics",
        ]


@pytest.mark.parametrize("version", ["v1beta1", "v1alpha1"])
@pytest.mark.parametrize("form", ["json", "yaml"])
def test_statusz_for_programs(form: str, version: str) -> None:
    accept = f"application/{form};v={version};g=config.k8s.io;as=Statusz"
    answer = statusz(request(accept=accept), FACTS, LATER_S)
    assert answer.headers[0] == ("Content-Type", f"application/{form}")
    content = (json.loads if form == "json" else yaml.safe_load)(answer.body)
    assert content == {
        "kind": "Statusz",
        "apiVersion": f"config.k8s.io/{version}",
        "metadata": {"name": "kube-proxy"},
        "startTime": "2026-01-02T03:04:05Z",
        "uptimeSeconds": 3723,
        "goVersion": "",
        "binaryVersion": "0.1.0",
        "emulationVersion": "1.37",
        "paths": ["/configz", "/metrics"],
    }


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "image/png",
        "application/json;v=v1;g=config.k8s.io;as=Statusz",
        "application/json;v=v1beta1;g=config.k8s.io;as=Flagz",
        "application/json;v=v1beta1;g=apps;as=Statusz",
    ],
)
def test_what_cannot_be_told_is_not_acceptable(accept: str) -> None:
    assert statusz(request(accept=accept), FACTS, LATER_S).status == 406


def test_flagz() -> None:
    flags = {
        "proxy-mode": "nftables",
        "bind-address": "0.0.0.0",
        "master": "https://a:b@[::1]:6443/x",
    }
    text = flagz(request(), flags, Version.V1_37).body.decode()
    assert text.splitlines()[4:] == [
        "bind-address=0.0.0.0",
        "master=https://[::1]:6443/x",
        "proxy-mode=nftables",
    ]
    assert "/configz" in flagz(request(), flags, Version.V1_38).body.decode()
    accept = "application/json;v=v1beta1;g=config.k8s.io;as=Flagz"
    content = json.loads(flagz(request(accept=accept), flags, Version.V1_38).body)
    assert content["kind"] == "Flagz"
    assert content["flags"] == flags | {"master": "https://[::1]:6443/x"}


CONFIGZ = {  # mode -> the sections with syncPeriod, with masqueradeAll
    "iptables": ("iptables", "iptables"),
    "ipvs": ("ipvs", "iptables"),
    "nftables": ("nftables", "nftables"),
}


@pytest.mark.parametrize("name", CONFIGZ)
def test_configz_has_settings_where_the_mode_reads_them(name: str) -> None:
    timed, masquerading = CONFIGZ[name]
    given = ProxyConfig(mode=name, node_port_addresses=("primary",))
    everything = replace(
        given,
        iptables=replace(given.iptables, masquerade_all=True),
        nftables=replace(given.nftables, masquerade_all=True),
    )
    answer = configz(everything, ModeConfigs()[name])
    assert answer.headers[0] == ("Content-Type", "application/json")
    content = json.loads(answer.body)
    assert [*content] == ["kubeproxy.config.k8s.io"]
    shown = content["kubeproxy.config.k8s.io"]
    assert (shown["kind"], shown["apiVersion"]) == (
        "KubeProxyConfiguration",
        "kubeproxy.config.k8s.io/v1alpha1",
    )
    assert shown["nodePortAddresses"] == ["primary"]
    periods = {each: shown[each]["syncPeriod"] for each in ("iptables", "ipvs", "nftables")}
    assert periods == dict.fromkeys(periods, "0s") | {timed: "30s"}
    masquerade = {each: shown[each]["masqueradeAll"] for each in ("iptables", "nftables")}
    assert masquerade == dict.fromkeys(masquerade, False) | {masquerading: True}
    rest = json.loads(json.dumps(to_values(everything)))
    for section in ("iptables", "ipvs", "nftables"):
        del rest[section], shown[section]
    assert shown == rest


def test_a_mode_of_others_reads_iptables() -> None:
    shown = json.loads(configz(ProxyConfig(), ModeConfig()).body)["kubeproxy.config.k8s.io"]
    assert shown["iptables"]["syncPeriod"] == "30s"


VERBOSITY = [  # method, body -> status, what is set
    ("PUT", b"4", 200, [4]),
    ("PUT", b" 0\n", 200, [0]),
    ("PUT", b"", 400, []),
    ("PUT", b"-1", 400, []),
    ("PUT", b"\xb2", 400, []),
    ("PUT", b"1" * 10, 400, []),
    ("GET", b"4", 405, []),
]


@pytest.mark.parametrize(("method", "body", "status", "expected"), VERBOSITY)
def test_the_verbosity_can_be_set(
    method: str, body: bytes, status: int, expected: list[int]
) -> None:
    heard: list[int] = []
    pages = Pages(debug_pages(heard.append))
    assert pages.respond(request("/debug/flags/v", method, body)).status == status
    assert heard == expected


def test_there_is_no_pprof_and_that_is_said() -> None:
    pages = Pages(debug_pages(lambda _verbosity: None))
    for target in ("/debug/pprof", "/debug/pprof/", "/debug/pprof/profile?seconds=1"):
        answer = pages.respond(request(target))
        assert answer.status == 404
        assert b"no pprof" in answer.body
    assert b"no pprof" not in Pages({}).respond(request("/debug/pprof")).body
