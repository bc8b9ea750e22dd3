"""A mode's own options: decoded by its own type, refused by name."""

from __future__ import annotations

from typing import Literal, Never

import pytest

from kproxy.backend import (
    BackendOptions,
    Mode,
    ModeConfig,
    complete_options,
    decode_options,
    parse_options,
)
from kproxy.backend.options import chosen_values, fitting_options
from kproxy.cli.mode_options import Given
from kproxy.config import IpvsSection, ProxyConfig, Seconds
from kproxy.errors import BadInput


class Options(BackendOptions, frozen=True, kw_only=True):
    workers: int = 4
    fast: bool = False
    idle_timeout: Seconds = Seconds(30)
    pace: Literal["slow", "quick"] = "slow"
    hosts: tuple[str, ...] = ()
    scheduler: str = ""  # of the section ipvs

    def __post_init__(self) -> None:
        if self.fast and self.workers > 8:
            raise ValueError(f"fast with {self.workers} workers; at most 8")


def nobody(*_: object) -> Never:
    raise AssertionError("no backend is made here")


MODE = Mode(name="mine", backend=nobody, options=Options, config=ModeConfig(section="ipvs"))
PLAIN = Mode(name="plain", backend=nobody)

DECODED = [  # as a text of the command line, as a value of a file -> attribute, value
    ({"workers": "7"}, {"workers": 7}, "workers", 7),
    ({"fast": "true"}, {"fast": True}, "fast", True),
    ({"idleTimeout": "1m30s"}, {"idleTimeout": "1m30s"}, "idle_timeout", 90),
    ({"pace": "quick"}, {"pace": "quick"}, "pace", "quick"),
    ({"hosts": "a,b"}, {"hosts": ["a", "b"]}, "hosts", ("a", "b")),
    ({"hosts": ""}, {"hosts": []}, "hosts", ()),
]


@pytest.mark.parametrize(("texts", "values", "attribute", "value"), DECODED)
def test_texts_and_values(
    texts: dict[str, str], values: dict[str, object], attribute: str, value: object
) -> None:
    for given in (texts, values):
        options, problems = decode_options(MODE, given, "here")
        assert problems == []
        assert getattr(options, attribute) == value


REFUSED = [
    ({"worker": 3}, "here: mine mode has no option 'worker'; did you mean workers?"),
    (
        {"x": 3},
        "here: mine mode has no option 'x'; it has fast, hosts, idleTimeout, pace, workers",
    ),
    ({"workers": "many"}, "here workers: expected int, got str"),
    ({"workers": [3]}, "here workers: expected int, got array"),
    ({"pace": "fast"}, "here pace: invalid enum value 'fast'"),
    ({"idleTimeout": 30}, "here idleTimeout: expected a duration such as 30s, got 30"),
    ({"scheduler": "lc"}, "here: mine mode has no option 'scheduler'; it has fast, "),
    ({"fast": True, "workers": 9}, "here: fast with 9 workers; at most 8"),
    ({"idle_timeout": "3s"}, "here: mine mode has no option 'idle_timeout'; did you mean idleT"),
]


@pytest.mark.parametrize(("given", "told"), REFUSED)
def test_refused_by_name(given: dict[str, object], told: str) -> None:
    options, problems = decode_options(MODE, given, "here")
    assert len(problems) == 1
    assert problems[0].at("").startswith(told)
    assert options == Options()


def test_a_mode_without_options_says_so() -> None:
    _, problems = decode_options(PLAIN, {"x": "y"}, "here")
    assert [each.at("") for each in problems] == ["here: 'x': plain mode has no options of its own"]


def test_every_problem_is_found_at_once() -> None:
    _, problems = decode_options(MODE, {"x": 1, "workers": "many", "pace": "fast"}, "here")
    assert len(problems) == 3


def test_fields_of_the_mode_s_section_come_from_there() -> None:
    config = ProxyConfig(ipvs=IpvsSection(scheduler="lc"))
    completed = complete_options(MODE, config, Options(workers=2))
    assert completed == Options(workers=2, scheduler="lc")
    assert complete_options(PLAIN, config, BackendOptions()) == BackendOptions()


def test_pairs_of_the_command_line() -> None:
    assert parse_options(["a=1", "b=x=y", "a=2", "c="]) == ({"a": "2", "b": "x=y", "c": ""}, [])
    assert [each.at("") for each in parse_options(["a", "=1"])[1]] == [
        "--backend-option: 'a' is not of the form NAME=VALUE",
        "--backend-option: '=1' is not of the form NAME=VALUE",
    ]


def test_the_command_line_counts_more_than_the_file() -> None:
    given = Given(flags={"pace": "quick", "iptables_variant": "nft"}, backend_option=("workers=2",))
    options, problems = given.with_file(MODE, {"workers": 3, "fast": True, "pace": "slow"})
    assert problems == []  # a flag for other modes is nobody's fault
    assert options == Options(workers=2, fast=True, pace="quick")


def test_both_places_are_named() -> None:
    given = Given(backend_option=("nonsense", "x=1"))
    _, problems = given.with_file(MODE, {"y": 2})
    assert [each.at("").partition(":")[0] for each in problems] == [
        "--backend-option",
        "backendOptions",
        "--backend-option",
    ]
    with pytest.raises(BadInput, match="no option 'x'"):
        given.options(MODE)


class Other(BackendOptions, frozen=True, kw_only=True):
    idle_timeout: Seconds = Seconds(30)
    pace: Literal["quick", "mad"] = "quick"
    fast: bool = False
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.fast and self.hosts:
            raise ValueError("fast with hosts")


OTHER = Mode(name="other", backend=nobody, options=Other)

CHOSEN = [  # options, what is kept, what is not
    (Options(), Other(), {}),
    (Options(idle_timeout=Seconds(9)), Other(idle_timeout=Seconds(9)), {}),
    (Options(fast=True, workers=5), Other(fast=True), {"workers": 5}),
    (Options(pace="quick"), Other(), {"pace": "quick"}),  # of another type there
    (Options(fast=True, hosts=("a",)), Other(), {"fast": True, "hosts": ("a",)}),  # a conflict
    (Options(scheduler="wrr"), Other(), {}),  # of the configuration
]


@pytest.mark.parametrize(("options", "kept", "unused"), CHOSEN, ids=str)
def test_another_mode_takes_over_the_options_that_it_has(
    options: Options, kept: Other, unused: dict[str, object]
) -> None:
    assert fitting_options(OTHER, MODE, options) == (kept, unused)
    assert fitting_options(PLAIN, MODE, options)[0] == BackendOptions()
    back, lost = fitting_options(MODE, MODE, options)
    assert (chosen_values(MODE, back), lost) == (chosen_values(MODE, options), {})
