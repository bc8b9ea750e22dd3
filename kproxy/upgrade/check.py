"""All differences between two sides for given objects, as one value. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from kproxy.api.types import KubernetesObject, Service
from kproxy.errors import BadInput, NoOracle
from kproxy.forwarding.service_ports import is_proxied
from kproxy.upgrade.behaviours import Applying, behaviours, unseen
from kproxy.upgrade.facts import named
from kproxy.upgrade.lasting import Lasting, lasting_differences
from kproxy.upgrade.model import Model, model_of
from kproxy.upgrade.modes import ModeDifference, mode_differences
from kproxy.upgrade.prediction import Difference, differences, plans_of
from kproxy.upgrade.rules import RulesDifference, nodes_of, rule_differences
from kproxy.upgrade.settings import (
    Said,
    SettingDifference,
    gate_differences,
    said,
    value_differences,
)
from kproxy.upgrade.side import Configured


class Affected(Struct, frozen=True, kw_only=True):
    """A Service, `namespace/name`, and what differs for it."""

    service: str
    rules: bool
    packets: int
    """How many of the questions about it have another answer."""
    behaviours: tuple[str, ...]
    modes: tuple[str, ...]


class Report(Struct, frozen=True, kw_only=True):
    """All differences. `asked`: the questions whose answers were predicted on both sides. `unseen`:
    how many differences of the versions no emulator shows. `left_out`: what was not looked at.
    """

    before: Configured
    after: Configured
    services: tuple[str, ...]
    nodes: int
    said: tuple[Said, ...]
    values: tuple[SettingDifference, ...] = ()
    gates: tuple[SettingDifference, ...] = ()
    behaviours: tuple[Applying, ...] = ()
    modes: tuple[ModeDifference, ...] = ()
    rules: tuple[RulesDifference, ...] = ()
    answers: tuple[Difference, ...] = ()
    lasting: tuple[Lasting, ...] = ()
    asked: int = 0
    unseen: int = 0
    left_out: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[Said, ...]:
        """Return why one of the sides would not start."""
        return tuple(each for each in self.said if each.refuses)

    @property
    def affected(self) -> tuple[Affected, ...]:
        """Return the Services for which something differs, by name."""
        rules = {each.service for each in self.rules}
        packets = [_name(each) for each in self.answers]
        packets += [_name(each) for each in self.lasting]
        return tuple(
            found
            for name in self.services
            if (found := self._of(name, name in rules, packets.count(name))) is not None
        )

    def _of(self, name: str, rules: bool, packets: int) -> Affected | None:
        ways = tuple(each.name for each in self.behaviours if name in each.services)
        modes = tuple(each.what for each in self.modes if name in each.services)
        if not (rules or packets or ways or modes):
            return None
        return Affected(service=name, rules=rules, packets=packets, behaviours=ways, modes=modes)


def check(
    objects: Sequence[KubernetesObject],
    before: Configured,
    after: Configured,
    config: str | Path | None = None,
) -> tuple[Report, Model | None]:
    """Return all differences, and the model that packets can be sent in; None if a side refuses the
    configuration, so that nothing else can be compared. `config`: the file, for messages.

    Raises BackendFault.
    """
    services = tuple(
        sorted(named(each) for each in objects if isinstance(each, Service) and is_proxied(each))
    )
    report = Report(
        before=before,
        after=after,
        services=services,
        nodes=len(nodes_of(objects)),
        said=tuple(said(objects, before, after, str(config or ""))),
        gates=tuple(gate_differences(before, after)),
        unseen=unseen(before.side.version, after.side.version),
    )
    if report.refused:
        reason = "rules and packets: a configuration that is refused has none"
        return replace(report, left_out=(reason,)), None
    left_out = [
        f"rules: {side.mode.name} mode cannot print them without a kernel"
        for side in (before, after)
        if side.mode.render is None
    ]
    rules: list[RulesDifference] = []
    if not left_out:
        try:
            rules = rule_differences(objects, before, after)
        except BadInput as error:
            left_out.append(f"rules: {'; '.join(error.problems)}")
    model = model_of(objects)
    answers: list[Difference] = []
    asked = 0
    lasting: list[Lasting] = []
    try:
        answers, asked = differences(model, before, after)
        lasting = lasting_differences(plans_of(model, before), before, after)
    except (BadInput, NoOracle) as error:
        left_out.append(f"packets: {'; '.join(error.problems)}")
    applying = behaviours(objects, before, after, rules)
    found = replace(
        report,
        values=tuple(value_differences(objects, before, after)),
        behaviours=tuple(applying),
        modes=tuple(mode_differences(objects, before, after)),
        rules=tuple(rules),
        answers=tuple(answers),
        lasting=tuple(lasting),
        asked=asked,
        left_out=(*left_out, *_unpredicted(objects)),
    )
    return found, model


def _unpredicted(objects: Sequence[KubernetesObject]) -> list[str]:
    """Return what is said of objects that a proxy does not take from manifests."""
    others = [named(each) for each in objects if isinstance(each, Service) and not is_proxied(each)]
    if not others:
        return []
    return [f"Services that kube-proxy does not serve: {', '.join(sorted(others))}"]


def _name(each: Difference | Lasting) -> str:
    service = each.question.service if isinstance(each, Difference) else each.service
    return "/".join(service.service)
