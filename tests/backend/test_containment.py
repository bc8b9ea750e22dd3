"""Whatever a backend of somebody else does, an error with its name comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kproxy.address import Family
from kproxy.backend import (
    Backend,
    BackendFault,
    BackendOptions,
    BadInput,
    Counting,
    Delta,
    Figure,
    KernelRefused,
    KproxyError,
    Metric,
    MetricKind,
    NodeSettings,
    Plan,
    Predecessor,
    Support,
    SyncReport,
    Unsupported,
    Uses,
    listing_of,
)
from kproxy.backend.containment import METHODS, Plugin, contained, lacking, takes

SETTINGS = NodeSettings(family=Family.IPV4, node_name="node-a")
PLAN = Plan(settings=SETTINGS, services={})
FULL = Delta(full=True)
REPORT = SyncReport(full=True, transactions=0, rules_written={})
FOREIGN = Plugin("mine", "kproxy-mine", "1.2")
NAMED = "backend 'mine' (kproxy-mine 1.2)"

CALLS: dict[str, Callable[[Backend], object]] = {
    "support": lambda backend: backend.support(),
    "prepare": lambda backend: backend.prepare(SETTINGS),
    "sync": lambda backend: backend.sync(PLAN, FULL),
    "intact": lambda backend: backend.intact(),
    "read": lambda backend: backend.read(),
    "cleanup": lambda backend: backend.cleanup(),
    "close": lambda backend: backend.close(),
}


class Sound:
    def __init__(self, _family: Family, _options: BackendOptions) -> None: ...
    def support(self) -> Support:
        return Support(True)

    def prepare(self, _settings: NodeSettings, /) -> None: ...
    def sync(self, _plan: Plan, _delta: Delta, /) -> SyncReport:
        return REPORT

    def intact(self) -> bool:
        return True

    def read(self) -> dict[str, dict[str, tuple[str, ...]]]:
        return {"nat": {"KUBE": ("-A KUBE",)}}

    def cleanup(self) -> None: ...
    def close(self) -> None: ...


def make(kind: Any, plugin: Plugin = FOREIGN) -> Backend:
    return contained(plugin, kind)(Family.IPV4, BackendOptions())


def doing(method: str, does: Callable[..., object]) -> type[Sound]:
    return type("Odd", (Sound,), {method: lambda *_: does()})


def raising(error: BaseException) -> Callable[[], object]:
    def fail() -> object:
        raise error

    return fail


def test_every_method_of_the_contract_is_known() -> None:
    public = {name for name in vars(Backend) if not name.startswith("_")}
    assert public == {*METHODS} == {*CALLS}


def test_what_keeps_the_contract_is_passed_on() -> None:
    backend = make(Sound)
    assert [call(backend) for call in CALLS.values()] == [
        *(Support(True), None, REPORT, True),
        *({"nat": {"KUBE": ("-A KUBE",)}}, None, None),
    ]
    assert not isinstance(backend, Predecessor)


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("error", [ZeroDivisionError("by 0"), SystemExit("bye"), KeyError("x")])
def test_a_bug_becomes_a_fault(method: str, error: BaseException) -> None:
    backend = make(doing(method, raising(error)))
    with pytest.raises(BackendFault) as found:
        CALLS[method](backend)
    told = f"{type(error).__name__}: {error}"
    assert str(found.value) == f"{NAMED}: {method}() raised {told}"
    assert found.value.__cause__ is error


def test_ctrl_c_is_nobody_s_fault() -> None:
    backend = make(doing("sync", raising(KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        backend.sync(PLAN, FULL)


ALLOWED = [  # what the contract allows -> what it is for the caller
    (KernelRefused("no", remedy="try x"), KernelRefused, "try x"),
    (Unsupported("lacks y", remedy="install y"), Unsupported, "install y"),
    (OSError(24, "Too many open files"), KernelRefused, ""),
    (BadInput(["odd"]), BackendFault, ""),
]


@pytest.mark.parametrize(("error", "kind", "remedy"), ALLOWED)
def test_allowed_errors_get_the_name(
    error: Exception, kind: type[KproxyError], remedy: str
) -> None:
    backend = make(doing("sync", raising(error)))
    with pytest.raises(kind) as found:
        backend.sync(PLAN, FULL)
    assert str(found.value) == f"{NAMED}: {error}"
    assert found.value.remedy == remedy


@pytest.mark.parametrize("error", [each for each, *_ in ALLOWED])
def test_of_our_own_backends_they_stay_as_they_are(error: Exception) -> None:
    own = Plugin("iptables", "kproxy", "0.1.0", own=True)
    backend = make(doing("sync", raising(error)), own)
    with pytest.raises(type(error)) as found:
        backend.sync(PLAN, FULL)
    assert found.value is error


RETURNED: list[tuple[str, object, str]] = [
    ("support", None, "support() returned NoneType, not Support"),
    ("sync", None, "sync() returned NoneType, not SyncReport"),
    ("intact", 1, "intact() returned int, not bool"),
    ("read", [], "read() returned list, not Mapping"),
    ("read", {"nat": []}, "read() returned tables that are not mappings"),
    ("listing", [], "listing() returned list, not Mapping"),
    ("listing", {"nat": []}, "listing() returned tables that are not mappings"),
]


@pytest.mark.parametrize(("method", "value", "told"), RETURNED)
def test_what_is_returned_is_looked_at(method: str, value: object, told: str) -> None:
    backend = make(doing(method, lambda: value))
    with pytest.raises(BackendFault) as found:
        {**CALLS, "listing": listing_of}[method](backend)
    assert str(found.value) == f"{NAMED}: {told}"


@pytest.mark.parametrize("method", METHODS)
def test_a_missing_method_is_named(method: str) -> None:
    lacks = type("Lacks", (), {k: vars(Sound)[k] for k in METHODS if k != method})
    assert lacking(lacks) == f"has no method {method}()"
    inherits = type("Inherits", (Backend,), {k: vars(Sound)[k] for k in METHODS if k != method})
    assert lacking(inherits) == f"has no method {method}()"
    unready = type("Unready", (Sound,), {method: 3})
    assert lacking(unready) == f"has a {method} that is not a method"
    with pytest.raises(BackendFault, match=rf"\(kproxy-mine 1.2\) has no method {method}\(\)"):
        make(lambda *_: lacks())


def test_signatures_are_looked_at() -> None:
    narrow = type("Narrow", (Sound,), {"sync": lambda _self, _plan: REPORT})
    assert lacking(narrow) == "has a method sync() that does not take 2 arguments"
    assert lacking(type("Wide", (Sound,), {"sync": lambda *_: REPORT})) == ""
    assert takes(Sound, 2)
    assert not takes(Sound, 3)


def test_one_that_cannot_be_made() -> None:
    class Unmakeable(Sound):
        def __init__(self, *_: object) -> None:
            raise LookupError("nowhere")

    with pytest.raises(BackendFault) as found:
        make(Unmakeable)
    assert str(found.value) == f"{NAMED} cannot be made: LookupError: nowhere"


class Leaving(Sound):
    def uses(self) -> Uses:
        return Uses(mode="mine")

    def has_left(self, successor: Uses, /) -> bool:
        return successor.mode == "other"

    def leave(self, successor: Uses, /) -> bool:
        raise ValueError(f"cannot leave {successor.mode}")


def test_a_predecessor_stays_one() -> None:
    backend = make(Leaving)
    assert isinstance(backend, Predecessor)
    assert backend.uses() == Uses(mode="mine")
    assert backend.has_left(Uses(mode="other"))
    with pytest.raises(BackendFault, match=r"leave\(\) raised ValueError: cannot leave other"):
        backend.leave(Uses(mode="other"))


ONE = Figure(Metric(name="one_total", kind=MetricKind.COUNTER, help="One."), (), 1)


def counting(*figures: object) -> type[Sound]:
    return type("Counts", (Sound,), {"figures": lambda _self: figures})


def test_figures_are_passed_on_and_need_not_be_there() -> None:
    with_figures, without = make(counting(ONE)), make(Sound)
    assert isinstance(with_figures, Counting)
    assert isinstance(without, Counting)
    assert with_figures.figures() == (ONE,)
    assert without.figures() == ()


def test_figures_that_are_none() -> None:
    made = make(counting(("one_total", (), 1)))
    assert isinstance(made, Counting)
    with pytest.raises(BackendFault, match="figures"):
        made.figures()
