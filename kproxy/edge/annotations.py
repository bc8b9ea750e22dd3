"""Annotations of a Service that load balancers understand: docs/annotations.md lists the effects.

They are those of two clouds, `kubernetes.io/elb.*` and `alibaba-cloud-loadbalancer-*`. If both set
the same thing, the latter counts. Other annotations are ignored.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from kproxy.api.depth import is_deep
from kproxy.api.problems import Problem, shown

ELB = "kubernetes.io/elb."
CLASS, ID = ELB + "class", ELB + "id"
PASS_THROUGH = ELB + "pass-through"
ALGORITHM = ELB + "lb-algorithm"
AFFINITY_MODE, AFFINITY_OPTION = ELB + "session-affinity-mode", ELB + "session-affinity-option"
CHECK_FLAG, CHECK_OPTION = ELB + "health-check-flag", ELB + "health-check-option"
ALIBABA = "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-"
SCHEDULER, PERSISTENCE = ALIBABA + "scheduler", ALIBABA + "persistence-timeout"

_AFFINITY_MINUTES = 60  # the vendor's default and maximum
_PERSISTENCE_MAX_S = 3600
_BY_SOURCE_S = 24 * 3600  # SOURCE_IP as an algorithm never expires; the memory for it has to


class Algorithm(enum.Enum):
    """An algorithm that chooses the backend of a new connection."""

    ROUND_ROBIN = "rr"
    WEIGHTED_ROUND_ROBIN = "wrr"
    LEAST_CONNECTIONS = "lc"
    WEIGHTED_LEAST_CONNECTIONS = "wlc"

    @property
    def counts(self) -> bool:
        """Tell whether the algorithm must know how many connections there are."""
        return self in (Algorithm.LEAST_CONNECTIONS, Algorithm.WEIGHTED_LEAST_CONNECTIONS)


class BalancerClass(enum.Enum):
    """A kind of load balancer. The values are the vendor's."""

    SHARED = "union"
    DEDICATED = "performance"
    DNAT = "dnat"


PassThrough = Literal["never", "onlyLocal", "true"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOption:
    """The health checks that an annotation asks for; times in seconds.

    `max_retries`: failures in a row that take a backend out of use.
    """

    delay_s: float
    timeout_s: float
    max_retries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerSettings:
    """The settings that the annotations of a Service ask for, with defaults for the rest.

    `balancer`: its name, "" for any. `pass_through` None: the profile decides.
    `persistence_s`: how long after its last connection a source keeps its backend; 0: not at all.
    `check` None: the lab's own times.
    """

    balancer_class: BalancerClass | None = None
    balancer: str = ""
    pass_through: PassThrough | None = None
    algorithm: Algorithm = Algorithm.ROUND_ROBIN
    persistence_s: int = 0
    checked: bool = True
    check: CheckOption | None = None


_ALGORITHMS = {
    "ROUND_ROBIN": (Algorithm.ROUND_ROBIN, 0),
    "LEAST_CONNECTIONS": (Algorithm.LEAST_CONNECTIONS, 0),
    "SOURCE_IP": (Algorithm.ROUND_ROBIN, _BY_SOURCE_S),
}
_SCHEDULERS = {
    "rr": Algorithm.ROUND_ROBIN,
    "wrr": Algorithm.WEIGHTED_ROUND_ROBIN,
    "wlc": Algorithm.WEIGHTED_LEAST_CONNECTIONS,
}
_PASS_THROUGH: dict[str, PassThrough] = {"true": "true", "onlyLocal": "onlyLocal"}
_T = TypeVar("_T")


def read(annotations: Mapping[str, str]) -> tuple[BalancerSettings, list[Problem]]:
    """Return the settings that valid annotations ask for, and the problems of the others."""
    reader = _Reader(annotations)
    algorithm, persistence_s = reader.one_of(ALGORITHM, _ALGORITHMS, (Algorithm.ROUND_ROBIN, 0))
    if reader.one_of(AFFINITY_MODE, {"SOURCE_IP": True}, False):
        minutes = reader.parsed(AFFINITY_OPTION, _affinity_minutes, _AFFINITY_MINUTES)
        persistence_s = minutes * 60
    elif AFFINITY_OPTION in annotations and AFFINITY_MODE not in annotations:
        reader.add(AFFINITY_OPTION, f"needs {AFFINITY_MODE}")
    settings = BalancerSettings(
        balancer_class=reader.one_of(CLASS, {each.value: each for each in BalancerClass}, None),
        balancer=annotations.get(ID, ""),
        pass_through=reader.one_of(PASS_THROUGH, _PASS_THROUGH, None),
        algorithm=reader.one_of(SCHEDULER, _SCHEDULERS, algorithm),
        persistence_s=reader.parsed(PERSISTENCE, _persistence_s, persistence_s),
        checked=reader.one_of(CHECK_FLAG, {"on": True, "off": False}, True),
        check=reader.parsed(CHECK_OPTION, _check_option, None),
    )
    return settings, reader.problems


class _Reader:
    def __init__(self, annotations: Mapping[str, str]) -> None:
        self._annotations = annotations
        self.problems: list[Problem] = []

    def add(self, name: str, text: str) -> None:
        self.problems.append(Problem(f"metadata.annotations[{name}]", text))

    def one_of(self, name: str, values: Mapping[str, _T], default: _T) -> _T:
        value = self._annotations.get(name)
        if value is None:
            return default
        if value not in values:
            self.add(name, f"{shown(value)} is none of: {', '.join(values)}")
            return default
        return values[value]

    def parsed(self, name: str, parse: Callable[[str], _T], default: _T) -> _T:
        value = self._annotations.get(name)
        if value is None:
            return default
        try:
            return parse(value)
        except _Wrong as error:
            self.add(name, str(error))
            return default


class _Wrong(Exception):
    """A value of an annotation is not valid. The message says why."""


def _affinity_minutes(text: str) -> int:
    fields = _fields(text, ("persistence_timeout",))
    return _whole(fields, "persistence_timeout", 1, 60, _AFFINITY_MINUTES)


def _persistence_s(text: str) -> int:
    return _whole({"": text}, "", 0, _PERSISTENCE_MAX_S, 0)


def _check_option(text: str) -> CheckOption:
    """Return the option. Limits and defaults are the vendor's. Raises _Wrong."""
    fields = _fields(text, ("protocol", "delay", "timeout", "max_retries"))
    if (protocol := fields.get("protocol", "TCP")) != "TCP":
        raise _Wrong(f"protocol: {shown(protocol)} is not TCP")
    return CheckOption(
        delay_s=_whole(fields, "delay", 1, 50, 5),
        timeout_s=_whole(fields, "timeout", 1, 50, 10),
        max_retries=_whole(fields, "max_retries", 1, 10, 3),
    )


def _fields(text: str, known: tuple[str, ...]) -> dict[str, Any]:
    try:
        fields = None if is_deep(text) else json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise _Wrong(f"{shown(text)} is not a JSON object")
    if unknown := [key for key in fields if key not in known]:
        raise _Wrong(f"{shown(unknown[0])} is none of: {', '.join(known)}")
    return fields


def _whole(fields: Mapping[str, Any], key: str, least: int, most: int, default: int) -> int:
    """Return the number of a number or a text of digits: the vendor writes both. Raises _Wrong."""
    value = fields.get(key, default)
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) < 10):
        number = least - 1
    else:
        number = int(text)
    if not least <= number <= most:
        where = f"{key}: " if key else ""
        raise _Wrong(f"{where}{shown(value)} is not a whole number from {least} to {most}")
    return number
