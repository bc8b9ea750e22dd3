"""Reads scenarios from folders, and reports every problem in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

import msgspec
from msgspec import Struct

from kproxy import backend
from kproxy.address import Family, family_of, family_of_parsed
from kproxy.api.manifests import load as load_manifests
from kproxy.api.places import located
from kproxy.api.problems import Problem, shown, step
from kproxy.api.service_rules import HEADLESS
from kproxy.api.structure import build
from kproxy.api.types import KubernetesObject, Service
from kproxy.api.yaml_documents import documents
from kproxy.errors import BadInput
from kproxy.lab import LabSpec, load_spec, validation
from kproxy.lab.models import MODELS
from kproxy.lab.names import DNAT
from kproxy.scenario.form import Attached, Form, Otherwise, Question, Target
from kproxy.store import object_key

LAB, SERVICE, FORM = "lab.yaml", "service.yaml", "scenario.yaml"
_PAYLOAD_BYTES = {Family.IPV4: range(64, 1473), Family.IPV6: range(64, 1453)}  # with headers: 1500
_WAITS_S = range(61)
_FOLDER = f"a scenario is a folder with {LAB}, {SERVICE} and {FORM}, as docs/scenarios.md shows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A folder's content, checked.

    `objects` are those of service.yaml; `parts` has, for each of the form's `parts`, these and on
    top of them its own. `former` are those that a former proxy knew.
    """

    name: str
    form: Form
    spec: LabSpec
    objects: tuple[KubernetesObject, ...]
    parts: tuple[tuple[KubernetesObject, ...], ...]
    former: tuple[KubernetesObject, ...] = ()

    @property
    def networks(self) -> tuple[str, ...]:
        """Return the networks it applies to, the usual one first."""
        return self.form.networks or (self.spec.network,)


def names(folder: Path) -> list[str]:
    """Return the names of the scenarios in a folder."""
    return sorted(file.parent.name for file in folder.glob(f"*/{FORM}"))


def load(folder: Path) -> Scenario:
    """Read a scenario. Raises BadInput with every problem of every file, with file and place."""
    if not folder.is_dir():
        why = "this is a file" if folder.exists() else "there is no such folder"
        raise BadInput([f"{folder}: {why}"], remedy=_FOLDER)
    problems: list[str] = []
    text, form = _form(folder / FORM, problems)
    sound = not problems  # else placeholders would be checked against the lab
    objects = _objects(folder / SERVICE, problems)
    spec: LabSpec | None = None
    try:
        spec = load_spec(folder / LAB)
    except BadInput as error:
        problems += error.problems
    parts = []
    for part in form.parts if form else ():
        own = _objects(folder / part.manifest, problems) if part.manifest else ()
        parts.append(_on_top(objects, own))
    left = form.left_behind if form else None
    former = _objects(folder / left.manifest, problems) if left and left.manifest else ()
    if form and spec and sound:
        checker = _Checker(spec, form)
        found = located(checker.problems(objects, parts), text)
        problems += (problem.at(str(folder / FORM)) for problem in found)
    if problems or not form or not spec:
        whole = all((folder / each).exists() for each in (LAB, SERVICE, FORM))
        raise BadInput(problems, remedy="" if whole else _FOLDER)
    return Scenario(
        name=folder.name,
        form=form,
        spec=spec,
        objects=objects,
        parts=tuple(parts),
        former=former,
    )


def _form(file: Path, problems: list[str]) -> tuple[str, Form | None]:
    """Return the text, and the form as far as it can be read; wrong fields hold placeholders."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{file}: {getattr(error, 'strerror', None) or error}")
        return "", None
    found = list(documents(text))
    if len(found) != 1:
        problems.append(f"{file}: expected one document, got {len(found)}")
        return text, None
    document = found[0]
    form, malformed = build(document.value, Form)
    faults = [*malformed, *_unknown(document.value, Form, "")]
    faults = [*document.problems, *document.repeated, *located(faults, text)]
    problems += (fault.at(str(file)) for fault in faults)
    return text, form


def _unknown(value: object, kind: Any, path: str) -> Iterator[Problem]:
    """Yield a problem for each key that is not a field."""
    if get_origin(kind) is tuple and isinstance(value, list):
        for number, item in enumerate(value):
            yield from _unknown(item, get_args(kind)[0], f"{path}[{number}]")
    elif isinstance(kind, UnionType):  # with None
        yield from _unknown(value, get_args(kind)[0], path)
    elif isinstance(kind, type) and issubclass(kind, Struct) and isinstance(value, dict):
        known = {info.encode_name: info.type for info in msgspec.structs.fields(kind)}
        for key, item in value.items():
            place = f"{path}{step(key)}".lstrip(".")
            if key in known:
                yield from _unknown(item, known[key], place)
            else:
                yield Problem(place, f"unknown; known are {', '.join(known)}")


def _objects(file: Path, problems: list[str]) -> tuple[KubernetesObject, ...]:
    decoded = load_manifests([file], stored=True)
    problems += decoded.problems
    return tuple(_stored(each) for each in decoded.objects)


def _stored(obj: KubernetesObject) -> KubernetesObject:
    """Return the object as the API server stores it: a Service has its cluster IPs' families."""
    if not isinstance(obj, Service) or obj.spec.ip_families:
        return obj
    families = tuple(map(family_of, obj.spec.cluster_ips))
    return msgspec.structs.replace(
        obj, spec=msgspec.structs.replace(obj.spec, ip_families=families)
    )


def cluster_ip(service: Service, family: Family) -> str:
    """Return the Service's cluster IP of that family, "" if it has none."""
    addresses = (each for each in service.spec.cluster_ips if each != HEADLESS)
    return next((each for each in addresses if family_of(each) is family), "")


def _on_top(
    objects: Iterable[KubernetesObject], others: Iterable[KubernetesObject]
) -> tuple[KubernetesObject, ...]:
    """Return the objects after `kubectl apply` of `objects` and then of `others`."""
    both = {object_key(each): each for each in objects}
    return tuple((both | {object_key(each): each for each in others}).values())


class _Checker:
    """Checks a form against the lab and the objects that it names."""

    def __init__(self, spec: LabSpec, form: Form) -> None:
        self._spec, self._form = spec, form
        self._nodes = [node.name for node in spec.nodes]
        self._pods = [pod.name for pod in spec.pods]
        self._clients = [client.name for client in spec.clients]
        self._balancers = [each.name for each in spec.edge.balancers] if spec.edge else []
        self._public = [*self._nodes, *self._balancers, DNAT] if spec.edge else []
        self._sources = [
            *self._nodes,
            *self._pods,
            *self._clients,
            *self._balancers,
            *(
                f"{kind} of {node}"
                for kind in ("eip", "gateway", "tunnel", "second")
                for node in self._nodes
            ),
        ]

    def problems(
        self,
        objects: Iterable[KubernetesObject],
        parts: Iterable[Iterable[KubernetesObject]],
    ) -> Iterator[Problem]:
        yield from self._settings()
        yield from self._part("", self._form.questions, self._form.attached, objects)
        form = self._form
        places = (
            *(f"steps[{number}]." for number in range(len(form.steps))),
            *(f"remedies[{number}]." for number in range(len(form.remedies))),
        )
        for place, part, there in zip(places, form.parts, parts, strict=True):
            if part.after_s not in _WAITS_S:
                low, high = _WAITS_S[0], _WAITS_S[-1]
                yield Problem(f"{place}afterSeconds", f"{part.after_s} is not in {low}..{high}")
            if part.cleanup and not form.left_behind:
                yield Problem(f"{place}cleanup", "nothing was left behind")
            yield from self._part(place, part.questions, part.attached, there)

    def _settings(self) -> Iterator[Problem]:
        form = self._form
        if not form.modes:
            yield Problem("modes", "at least one is needed")
        for number, mode in enumerate(form.modes):
            yield from _one_of(f"modes[{number}]", mode, backend.modes())
        for number, network in enumerate(form.networks):
            wrong = list(_one_of(f"networks[{number}]", network, [*MODELS]))
            if not wrong:
                spec = replace(self._spec, network=network)
                wrong = [Problem(f"networks[{number}]", e) for e in validation.problems(spec)]
            yield from wrong
        if left := form.left_behind:
            leaving = [each for each in backend.modes() if not backend.load(each).forwards_itself]
            yield from _one_of("leftBehind.node", left.node, self._nodes)
            yield from _one_of("leftBehind.mode", left.mode, leaving)
            if not left.manifest:
                yield Problem("leftBehind.manifest", "a file is needed")

    def _part(
        self,
        place: str,
        questions: tuple[Question, ...],
        attached: tuple[Attached, ...],
        objects: Iterable[KubernetesObject],
    ) -> Iterator[Problem]:
        family = self._spec.families[0]  # the family of all questions
        services = {
            each.metadata.name: cluster_ip(each, family) != ""
            for each in objects
            if isinstance(each, Service)
        }
        if not questions and not attached:
            yield Problem(f"{place}questions", "at least one is needed")
        for number, question in enumerate(questions):
            yield from self._question(f"{place}questions[{number}]", question, services)
        for number, each in enumerate(attached):
            here = f"{place}attached[{number}]"
            yield from _one_of(f"{here}.balancer", each.balancer, self._balancers)
            yield from _port(f"{here}.port", each.port)
            for index, name in enumerate(each.backends):
                yield from _one_of(f"{here}.backends[{index}]", name, [*self._nodes, *self._pods])

    def _question(
        self, place: str, question: Question, services: Mapping[str, bool]
    ) -> Iterator[Problem]:
        clients = [*self._nodes, *self._pods, *self._clients]
        yield from _one_of(f"{place}.client", question.client, clients)
        yield from self._target(f"{place}.asks", question.asks, services)
        yield from self._answer(place, question)
        if question.flow and question.protocol != "UDP":
            yield Problem(f"{place}.flow", "only UDP can go on from one step to the next")
        fitting = _PAYLOAD_BYTES[self._spec.families[0]]
        if question.bytes and (not question.flow or question.bytes not in fitting):
            low, high = fitting[0], fitting[-1]
            yield Problem(f"{place}.bytes", f"only a flow has it, from {low} to {high}")
        modes, networks = self._form.modes, self._form.networks or (self._spec.network,)
        columns = [*modes, *networks, *(f"{each}-{mode}" for each in networks for mode in modes)]
        for number, other in enumerate(question.otherwise):
            here = f"{place}.otherwise[{number}]"
            yield from _one_of(f"{here}.in", other.column, columns)
            yield from self._answer(here, other)

    def _answer(self, place: str, expected: Question | Otherwise) -> Iterator[Problem]:
        if expected.source:
            yield from _one_of(f"{place}.source", expected.source, self._sources)
        for number, pod in enumerate(expected.pods):
            yield from _one_of(f"{place}.pods[{number}]", pod, [*self._pods, *self._nodes])

    def _target(
        self, place: str, target: Target, services: Mapping[str, bool]
    ) -> Iterator[Problem]:
        """Check a target. `services`: by name, whether each has a cluster IP to ask."""
        yield from _port(f"{place}.port", target.port)
        if len(target.named) != 1:
            kinds = "node, eip, service, balancer, pod and address"
            yield Problem(place, f"exactly one of {kinds} is needed")
        known = {
            "node": self._nodes,
            "eip": self._public,
            "service": services,
            "balancer": self._balancers,
            "pod": self._pods,
        }
        for kind, name in target.named.items():
            if kind in known:
                yield from _one_of(f"{place}.{kind}", name, known[kind])
        yield from self._address(f"{place}.address", target.address)
        if not services.get(target.service, True):
            family = self._spec.families[0].value
            text = f"{shown(target.service)} has no cluster IP of {family}"
            yield Problem(f"{place}.service", f"{text}: its clusterIP must be given")

    def _address(self, place: str, address: str) -> Iterator[Problem]:
        family = self._spec.families[0]
        try:
            fits = not address or family_of_parsed(ip_address(address)) is family
        except ValueError:
            fits = False
        if not fits:
            yield Problem(place, f"{shown(address)} is no {family.value} address")


def _one_of(place: str, name: str, known: Iterable[str]) -> Iterator[Problem]:
    choices = list(dict.fromkeys(known))
    if name not in choices:
        text = f"is none of {', '.join(choices)}" if choices else "there is none"
        yield Problem(place, f"{shown(name)} {text}" if choices else f"{shown(name)}: {text}")


def _port(place: str, port: int) -> Iterator[Problem]:
    if not 1 <= port <= 65535:
        yield Problem(place, f"{port} is not in 1..65535")
