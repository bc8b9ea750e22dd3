"""Facts about a running lab: objects, the kernels of its nodes and pods, answers of its DNS.

Only the DNS questions send anything, from within the lab.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from msgspec.structs import replace

from kproxy.address import Family
from kproxy.api.types import (
    Endpoints,
    EndpointSlice,
    KubernetesObject,
    Node,
    Pod,
    Service,
    ServiceCIDR,
)
from kproxy.backend import Mode, load
from kproxy.doctor.checks import diagnose
from kproxy.doctor.dns_questions import Questions, ask
from kproxy.doctor.facts import Difference, Facts, HostFacts, HostKind, Resolved
from kproxy.doctor.finding import Diagnosis, Missing, Part
from kproxy.doctor.from_kernel import KernelReader
from kproxy.doctor.from_objects import looked_at, store_of
from kproxy.doctor.workloads import templates
from kproxy.errors import BadInput, KproxyError
from kproxy.forwarding.plan import Plan
from kproxy.forwarding.planner import Planner
from kproxy.lab import Lab
from kproxy.lab.hosts import LabPod
from kproxy.proxy.setup import close
from kproxy.store import ServiceKey, Store

_KINDS: tuple[type[KubernetesObject], ...] = (
    Service,
    EndpointSlice,
    Endpoints,
    Node,
    Pod,
    ServiceCIDR,
)
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")
_NOT_RUN = ("Job", "CronJob", "ReplicationController", "Rollout")
_MOST_NAMES = 50


def diagnose_lab(lab: Lab, *, namespace: str = "", service: ServiceKey | None = None) -> Diagnosis:
    """Return what is wrong in a lab that has a control plane. Raises BadInput."""
    facts = from_lab(lab, service=service)
    return diagnose(facts, looked_at=looked_at(facts), namespace=namespace, service=service)


def from_lab(lab: Lab, *, service: ServiceKey | None = None) -> Facts:
    """Return the facts about a lab. With a `service`, DNS is asked for its name only."""
    lab.catch_up()
    store = store_of(each for kind in _KINDS for each in lab.objects(kind))
    reader = KernelReader(lab.config, lab.mode)
    missing: list[Missing] = [Missing(Part.API_SERVER, "a lab is asked through its own process")]
    hosts: list[HostFacts] = []
    for name, node in lab.nodes.items():
        with node.namespace.entered():
            hosts.append(reader.node(name))
    for name, pod in lab.pods.items():
        if not pod.spec.host_network:
            with pod.namespace.entered():
                hosts.append(reader.pod(name, pod.node, _nameservers(lab, pod)))
    hosts, unplanned = _compared(lab, store, hosts)
    names = _names(store, service)
    if unasked := len(names[_MOST_NAMES:]):
        why = f"only {_MOST_NAMES} are asked for at once; name one: svc/NAME"
        missing.append(Missing(Part.NAMES, why, f"{unasked} more Services"))
    if any(port.protocol == "SCTP" for each in lab.objects(Service) for port in each.spec.ports):
        missing.append(Missing(Part.LISTENERS, "sockets of SCTP are not read", "SCTP ports"))
    mode = load(lab.mode) if lab.mode else None
    return Facts(
        store=store,
        hosts=tuple(hosts),
        templates=tuple(templates(each for kind in _WORKLOADS for each in lab.plane.of_kind(kind))),
        not_run=frozenset(key for key in lab.left_out if key[0] in _NOT_RUN),
        resolved=tuple(_resolved(lab, store, hosts, names[:_MOST_NAMES])),
        told=lab.warnings,
        clients=frozenset(ip for each in lab.clients.values() for ip in each.addresses.values()),
        forwards_itself=mode.forwards_itself if mode else False,
        falls_back=mode.falls_back if mode else None,
        missing=(*missing, *reader.missing, *unplanned),
    )


def _nameservers(lab: Lab, pod: LabPod) -> tuple[str, ...] | None:
    suffix = f".{pod.spec.namespace}"
    try:
        handle = lab.pod(pod.name.removesuffix(suffix), namespace=pod.spec.namespace)
        text = handle.resolv_conf
    except BadInput:  # it has ended meanwhile
        return None
    lines = (line.split() for line in text.splitlines())
    return tuple(words[1] for words in lines if words[:1] == ["nameserver"])


# --- the rules that there should be --------------------------------------------------------------


def _compared(
    lab: Lab, store: Store, hosts: Iterable[HostFacts]
) -> tuple[list[HostFacts], list[Missing]]:
    """Return the hosts, nodes with the differences of their rules from what the objects ask for."""
    found, missing = [], []
    mode = load(lab.mode) if lab.mode else None
    for host in hosts:
        if host.kind is not HostKind.NODE:
            found.append(host)
        elif mode is None or why_not_rendered(mode):
            why = why_not_rendered(mode) if mode else "the proxies are not kproxy's"
            missing.append(Missing(Part.PLANS, why, host.name))
            found.append(host)
        else:
            try:
                differences = tuple(_differences(lab, mode, store, host))
                if differences:  # a sync may be under way
                    lab.catch_up()
                    differences = tuple(_differences(lab, mode, store, host))
                found.append(replace(host, differences=differences))
            except (KproxyError, OSError) as error:
                text = " ".join(str(error).split())
                missing.append(Missing(Part.PLANS, text, host.name))
                found.append(host)
    return found, missing


def why_not_rendered(mode: Mode) -> str:
    """Return why a mode's rules cannot be compared with those there should be, "" if they can."""
    if mode.forwards_itself:
        return f"{mode.name} mode keeps its state in the proxy's own process"
    return "" if mode.render else f"the backend of {mode.name} mode renders no rules"


def _differences(lab: Lab, mode: Mode, store: Store, host: HostFacts) -> Iterator[Difference]:
    """Yield what differs between a node's rules and those that the present objects ask for.

    Both are made by the mode's own functions, which compare equal on a kernel of the usual kind.
    """
    assert mode.render
    for family in lab.spec.families:
        if host.name not in (plans := lab.plans(family)):
            continue
        settings = plans[host.name].settings
        planner = Planner(settings)
        planner.replan(store)
        with lab.nodes[host.name].namespace.entered():
            backend = mode.backend(family, settings.options)
            try:
                there = mode.comparable(backend.read())
            finally:
                close(backend)
        addresses = _own_addresses(host, planner.plan)
        wanted = mode.comparable(mode.render(planner.plan, addresses))
        if there != wanted:
            yield from _between(family, there, wanted)


def _own_addresses(host: HostFacts, plan: Plan) -> frozenset[str]:
    """Return a node's addresses, without those of Services that a mode binds to a dummy link."""
    of_services = {each.address for port in plan.services.values() for each in port.frontends}
    bound = [each.addresses for each in host.links or () if each.kind == "dummy"]
    return (host.addresses or frozenset()) - (frozenset().union(*bound) & of_services)


def _between(family: Family, there: object, wanted: object) -> Iterator[Difference]:
    if not isinstance(there, Mapping) or not isinstance(wanted, Mapping):
        yield Difference(family, "", "", (repr(wanted)[:200],), (repr(there)[:200],))
        return
    have, should = _flat(there), _flat(wanted)
    for key in sorted({*have, *should}):
        own, right = have.get(key, ()), should.get(key, ())
        if own == right and (key in have) == (key in should):
            continue
        lacking = tuple(each for each in right if each not in own)
        foreign = tuple(each for each in own if each not in right)
        if not lacking and not foreign:
            lacking = ("(all of it)",) if key not in have else ()
            foreign = ("(in another order)",) if not lacking else ()
        yield Difference(family, *key, lacking, foreign)


def _flat(ruleset: Mapping[Any, Any]) -> dict[tuple[str, str], tuple[str, ...]]:
    return {
        (table, name): tuple(map(str, lines))
        for table, chains in ruleset.items()
        for name, lines in chains.items()
    }


# --- names ---------------------------------------------------------------------------------------


def _resolved(
    lab: Lab, store: Store, hosts: Iterable[HostFacts], names: Sequence[str]
) -> list[Resolved]:
    """Ask the cluster's DNS for names, from a pod of each node, or the node itself."""
    found = store.service(("kube-system", "kube-dns"))
    askers = {each.name: each.name for each in hosts if each.kind is HostKind.NODE}
    for each in hosts:
        if each.kind is HostKind.POD and askers.get(each.node) == each.node:
            askers[each.node] = each.name
    everywhere = lab.hosts
    questions = []
    with ExitStack() as undo:
        for host in askers.values():
            for server in found.spec.cluster_ips if found else ():
                if host in everywhere:
                    with everywhere[host].namespace.entered():
                        questions.append(Questions(host, server, names))
                    undo.callback(questions[-1].close)
        return ask(questions)


def _names(store: Store, service: ServiceKey | None) -> list[str]:
    keys = [service] if service else sorted(store.services())
    found = (store.service(key) for key in keys)
    return [
        f"{each.metadata.name}.{each.metadata.namespace}.svc.cluster.local."
        for each in found
        if each and each.spec.cluster_ip not in ("", "None")
    ]
