"""The settings that each annotation asks for, and the problems of invalid ones."""

from __future__ import annotations

import pytest

from kproxy.edge.annotations import Algorithm, BalancerClass, BalancerSettings, CheckOption, read

ELB = "kubernetes.io/elb."
ALIBABA = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-"
BY_SOURCE = {f"{ELB}session-affinity-mode": "SOURCE_IP"}

GOOD = [  # annotations -> settings
    ({}, BalancerSettings()),
    ({f"{ELB}autocreate": "{}", "example.com/elb.class": "x"}, BalancerSettings()),
    ({f"{ELB}class": "union"}, BalancerSettings(balancer_class=BalancerClass.SHARED)),
    ({f"{ELB}class": "performance"}, BalancerSettings(balancer_class=BalancerClass.DEDICATED)),
    ({f"{ELB}class": "dnat"}, BalancerSettings(balancer_class=BalancerClass.DNAT)),
    ({f"{ELB}id": "lb-2"}, BalancerSettings(balancer="lb-2")),
    ({f"{ELB}pass-through": "true"}, BalancerSettings(pass_through="true")),
    ({f"{ELB}pass-through": "onlyLocal"}, BalancerSettings(pass_through="onlyLocal")),
    ({f"{ELB}lb-algorithm": "ROUND_ROBIN"}, BalancerSettings()),
    (
        {f"{ELB}lb-algorithm": "LEAST_CONNECTIONS"},
        BalancerSettings(algorithm=Algorithm.LEAST_CONNECTIONS),
    ),
    ({f"{ELB}lb-algorithm": "SOURCE_IP"}, BalancerSettings(persistence_s=86400)),
    (BY_SOURCE, BalancerSettings(persistence_s=3600)),
    (
        BY_SOURCE | {f"{ELB}session-affinity-option": '{"persistence_timeout": "30"}'},
        BalancerSettings(persistence_s=1800),
    ),
    ({f"{ELB}health-check-flag": "off"}, BalancerSettings(checked=False)),
    (
        {
            f"{ELB}health-check-flag": "on",
            f"{ELB}health-check-option": '{"protocol":"TCP","delay":"1","max_retries":2}',
        },
        BalancerSettings(check=CheckOption(delay_s=1, timeout_s=10, max_retries=2)),
    ),
    ({f"{ALIBABA}scheduler": "rr"}, BalancerSettings()),
    ({f"{ALIBABA}scheduler": "wrr"}, BalancerSettings(algorithm=Algorithm.WEIGHTED_ROUND_ROBIN)),
    (
        {f"{ALIBABA}scheduler": "wlc"},
        BalancerSettings(algorithm=Algorithm.WEIGHTED_LEAST_CONNECTIONS),
    ),
    ({f"{ALIBABA}persistence-timeout": "60"}, BalancerSettings(persistence_s=60)),
    (BY_SOURCE | {f"{ALIBABA}persistence-timeout": "0"}, BalancerSettings()),
]

BAD = [  # annotation, value -> message
    (f"{ELB}class", "best", "'best' is none of: union, performance, dnat"),
    (f"{ELB}pass-through", "false", "'false' is none of: true, onlyLocal"),
    (
        f"{ELB}lb-algorithm",
        "rr",
        "'rr' is none of: ROUND_ROBIN, LEAST_CONNECTIONS, SOURCE_IP",
    ),
    (f"{ELB}session-affinity-mode", "HTTP_COOKIE", "'HTTP_COOKIE' is none of: SOURCE_IP"),
    (
        f"{ELB}session-affinity-option",
        '{"persistence_timeout": 1}',
        f"needs {ELB}session-affinity-mode",
    ),
    (f"{ELB}health-check-flag", "true", "'true' is none of: on, off"),
    (f"{ELB}health-check-option", "delay", "'delay' is not a JSON object"),
    (f"{ELB}health-check-option", "[1]", "'[1]' is not a JSON object"),
    (
        f"{ELB}health-check-option",
        '{"path": "/"}',
        "'path' is none of: protocol, delay, timeout, max_retries",
    ),
    (f"{ELB}health-check-option", '{"protocol": "HTTP"}', "protocol: 'HTTP' is not TCP"),
    (
        f"{ELB}health-check-option",
        '{"delay": "0"}',
        "delay: '0' is not a whole number from 1 to 50",
    ),
    (
        f"{ELB}health-check-option",
        '{"max_retries": true}',
        "max_retries: true is not a whole number from 1 to 10",
    ),
    (f"{ALIBABA}scheduler", "sch", "'sch' is none of: rr, wrr, wlc"),
    (
        f"{ALIBABA}persistence-timeout",
        "3601",
        "'3601' is not a whole number from 0 to 3600",
    ),
    (
        f"{ALIBABA}persistence-timeout",
        "²",
        "'²' is not a whole number from 0 to 3600",
    ),
]


@pytest.mark.parametrize(("annotations", "expected"), GOOD)
def test_what_is_asked_for(annotations: dict[str, str], expected: BalancerSettings) -> None:
    assert read(annotations) == (expected, [])


@pytest.mark.parametrize(("name", "value", "text"), BAD)
def test_a_bad_value_is_named(name: str, value: str, text: str) -> None:
    settings, problems = read({name: value})
    assert [problem.at("Service default/web") for problem in problems] == [
        f"Service default/web: metadata.annotations[{name}]: {text}"
    ]
    assert settings == BalancerSettings()


def test_the_limits_of_persistence() -> None:
    option = f"{ELB}session-affinity-option"
    for minutes in (0, 61, "x", None, 1.5):
        problems = read(BY_SOURCE | {option: f'{{"persistence_timeout": {minutes!r}}}'})[1]
        assert len(problems) == 1, minutes
