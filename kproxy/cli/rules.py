"""`kproxy rules`: the rules of one Service, in the order in which packets meet them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct
from msgspec.structs import replace

from kproxy.api.service_names import ServiceName, service_in
from kproxy.api.types import KubernetesObject
from kproxy.backend import BadInput, HostFacts, RuleLine, load, modes
from kproxy.cli.completing import complete_lab
from kproxy.cli.labs import living_lab
from kproxy.cli.mode_options import Given, take
from kproxy.cli.objects import in_lab, read_api
from kproxy.cli.paper import Wanted, families, paper_options, read_objects
from kproxy.report.width import columns, wrapped
from kproxy.typed import converted

if TYPE_CHECKING:
    from kproxy.rules.difference import Effect
    from kproxy.rules.paper import NodeOnPaper, Paper

_NARROWEST, _USUAL, _WIDEST = 60, 100, 200


class Block(Struct, frozen=True, kw_only=True):
    """The rules in one mode and family. `of` names where they are from, `mode` also its variant;
    `in_force`: they are a kernel's.
    """

    of: str
    mode: str
    family: str
    rules: tuple[RuleLine, ...]
    in_force: bool = False


@click.command()
@click.argument("service", metavar="svc/NAME[.NAMESPACE][:PORT]")
@click.option("-n", "--namespace", default="default", metavar="NAME", help="Its namespace.")
@click.option("--lab", metavar="NAME", help="Read a node of this lab.", shell_complete=complete_lab)
@click.option("--netns", metavar="NAME", default="", help="Read this network namespace.")
@click.option("--here", is_flag=True, help="Read this machine, where `kproxy run` is at work.")
@click.option(
    "--manifests",
    metavar="PATH",
    multiple=True,
    help="Services, EndpointSlices ... as YAML or JSON: a file or a folder. Alone, rules are those "
    "that would be written. May be repeated.",
)
@click.option(
    "--diff",
    nargs=2,
    metavar="MODE MODE",
    help="The rules that two modes would write, as MODE or MODE:VARIANT, and what differs: of "
    "--manifests, or of the objects of --lab.",
)
@paper_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def rules(**parameters: Any) -> None:
    """Show the rules of one Service in the order in which its packets meet them.

    Each rule is indented by the jumps that lead to it, and says what it is for; elements of maps
    and sets, and real servers, are rules, too. Read from a kernel, rules that count have the number
    of their packets in front; those of nftables do not count. Rules of others are not shown.

    Without --lab, --netns, --here and --manifests the only lab is read or, if there is none, this
    machine; without --node the first node. Root is needed for --netns and --here. Where rules do
    not name Services (ipvs mode, the flat layout) these need --manifests as well.

    \b
    Examples:
      kproxy rules svc/web
      kproxy rules svc/web:http --lab shop --node node-b
      kproxy rules svc/web.shop --manifests cluster.yaml --mode nftables
      kproxy rules svc/web --manifests cluster.yaml --diff iptables ipvs
      kproxy rules svc/web --manifests cluster.yaml --diff nftables nftables:flat
      kproxy rules svc/web --lab shop --diff iptables nftables
      sudo kproxy rules svc/web --here

    \b
    Exit status:
      0  shown
      1  the kernel cannot be read
      2  bad input, or there is no such Service
    """
    asked = service_in(parameters["service"], parameters["namespace"])
    given = take(parameters)
    wanted = Wanted(
        options=given, **{name: parameters[name] for name in ("config", "mode", "emulate")}
    )
    where = [f"--{name}" for name in ("lab", "netns", "here") if parameters[name]]
    if len(where) > 1:
        raise BadInput([f"{' and '.join(where)}: give one of them"])
    effects: list[Effect] = []
    of_lab = bool(parameters["lab"]) or not (where or parameters["manifests"] or _no_lab())
    if of_lab and parameters["manifests"]:
        raise BadInput(["--lab and --manifests: give one of them"])
    if parameters["diff"]:
        blocks, effects = _compared(asked, wanted, parameters, of_lab=of_lab)
    elif of_lab:
        _check_own(parameters)
        blocks = _from_lab(asked, parameters)
    elif where or not parameters["manifests"]:
        blocks = _read(asked, wanted, parameters)
    else:
        objects = _objects(asked, parameters["manifests"])
        blocks = _on_paper(asked, wanted.paper(), objects, parameters)
    if parameters["as_json"]:
        click.echo(json.dumps(_values(asked, blocks, effects), indent=2))
        return
    width = min(max(columns(sys.stdout) or _USUAL, _NARROWEST), _WIDEST)
    for line in _report(asked, blocks, effects, width):
        click.echo(line)


def _check_own(parameters: dict[str, Any]) -> None:
    """Raise BadInput for options that a lab has itself."""
    own = [f"--{name}" for name in ("mode", "config", "emulate") if parameters[name]]
    if not own:
        return
    told = "a lab's rules are read from its kernels, as its own proxies have written them"
    raise BadInput(
        [f"{', '.join(own)}: {told}"],
        remedy="--diff MODE MODE, for what modes would write for its objects",
    )


def _no_lab() -> bool:
    from kproxy.resident import places

    return not any(map(places.is_living, places.names()))


def _objects(asked: ServiceName, paths: tuple[str, ...]) -> tuple[KubernetesObject, ...]:
    """Return the objects of manifests, if the Service is among them. Raises BadInput."""
    return _with_service(asked, read_objects(paths), " in --manifests")


def _with_service(
    asked: ServiceName, objects: Iterable[KubernetesObject], where: str
) -> tuple[KubernetesObject, ...]:
    """Return the objects, if the Service is among them. Raises BadInput."""
    from kproxy.api.types import Service

    found = tuple(objects)
    keys = {
        (each.metadata.namespace, each.metadata.name) for each in found if isinstance(each, Service)
    }
    if (asked.namespace, asked.name) not in keys:
        known = ", ".join(sorted("/".join(key) for key in keys)[:8])
        service = f"{asked.namespace}/{asked.name}"
        raise BadInput([f"there is no Service {service}{where}; there are: {known}"])
    return found


def _node(
    paper: Paper, objects: tuple[KubernetesObject, ...], parameters: dict[str, Any]
) -> NodeOnPaper:
    """Return the node that is asked for, or else the first one."""
    from kproxy.rules.paper import node_on_paper
    from kproxy.upgrade.rules import nodes_of

    name = parameters["node"] or paper.config.hostname_override
    name = name or min(nodes_of(objects))
    return node_on_paper(objects, paper, name, families(parameters["family"]), HostFacts())


def _on_paper(
    asked: ServiceName,
    paper: Paper,
    objects: tuple[KubernetesObject, ...],
    parameters: dict[str, Any],
    label: str = "",
) -> list[Block]:
    from kproxy.backend import uncounted
    from kproxy.rules.service import service_rules, sought_in, with_rivals

    mode = paper.mode
    if mode.render is None:
        raise BadInput([f"{mode.name} mode cannot tell its rules without a kernel"])
    node = _node(paper, objects, parameters)
    blocks = []
    for family, plan in node.plans.items():
        sought = sought_in(plan, asked.namespace, asked.name, asked.port)
        listing = uncounted(mode.render(with_rivals(plan, sought), node.facts.addresses))
        blocks.append(
            Block(
                of=f"{node.name}, as rendered",
                mode=label or mode.name,
                family=family.value,
                rules=service_rules(mode, listing, sought),
            )
        )
    return blocks


def _compared(
    asked: ServiceName, wanted: Wanted, parameters: dict[str, Any], *, of_lab: bool
) -> tuple[list[Block], list[Effect]]:
    from kproxy.rules.difference import effects

    one, other = parameters["diff"]
    if parameters["mode"] or one == other:
        raise BadInput(["--diff: give two modes, or variants of one, and no --mode"])
    if parameters["netns"] or parameters["here"]:
        raise BadInput(["--diff: no kernel is read for what two modes would write"])
    if of_lab:
        place, kubeconfig, configs = in_lab(parameters["lab"], parameters["node"])
        wanted = replace(wanted, config=wanted.config or configs[0])
        objects = _with_service(asked, read_api(kubeconfig), f" in lab {place.name}")
    elif parameters["manifests"]:
        objects = _objects(asked, parameters["manifests"])
    else:
        raise BadInput(["--diff: of which objects? give --manifests, or --lab"])
    papers = [_variant(wanted, text).paper() for text in (one, other)]
    sides = [
        _on_paper(asked, paper, objects, parameters, label)
        for paper, label in zip(papers, (one, other), strict=True)
    ]
    found = effects(objects, papers[0], papers[1], f"{asked.namespace}/{asked.name}")
    return [block for both in zip(*sides, strict=True) for block in both], found


def _variant(wanted: Wanted, text: str) -> Wanted:
    """Return the configuration for MODE or MODE:VARIANT. Raises BadInput."""
    name, _, variant = text.partition(":")
    if name not in modes():
        raise BadInput([f"--diff: {name!r} is not one of {', '.join(modes())}"])
    mode = load(name)
    if variant and variant not in mode.variants:
        known = f"one of {', '.join(mode.variants)}" if mode.variants else "known: it has none"
        raise BadInput([f"--diff: the variant {variant!r} of {name} mode is not {known}"])
    flags = dict(wanted.options.flags)
    if variant:
        flags[mode.variant_option] = variant
    options = Given(flags=flags, backend_option=wanted.options.backend_option)
    return Wanted(config=wanted.config, mode=name, emulate=wanted.emulate, options=options)


def _from_lab(asked: ServiceName, parameters: dict[str, Any]) -> list[Block]:

    from kproxy.resident.control import ask

    place = living_lab(parameters["lab"])
    request = {
        "do": "rules",
        "node": parameters["node"],
        "namespace": asked.namespace,
        "name": asked.name,
        "port": asked.port,
        "families": [each.value for each in families(parameters["family"])],
    }
    found = ask(place, request).values
    return [
        Block(
            of=f"{found['node']} of lab {place.name}",
            mode=found["mode"],
            family=each["family"],
            rules=converted(each["rules"], tuple[RuleLine, ...]),
            in_force=True,
        )
        for each in found["families"]
    ]


def _read(asked: ServiceName, wanted: Wanted, parameters: dict[str, Any]) -> list[Block]:
    """Read a namespace, or this machine's own."""
    from kproxy.backend import Sought
    from kproxy.kernel.netns import Namespace
    from kproxy.kernel.privilege import require_net_admin
    from kproxy.rules.reading import found_in_force, read_listing
    from kproxy.rules.service import service_rules, sought_in

    netns = parameters["netns"]
    paths = parameters["manifests"]
    objects = _objects(asked, paths) if paths else ()
    config = wanted.paper().config
    blocks = []
    with ExitStack() as stack:
        if netns:
            stack.enter_context(stack.enter_context(Namespace.open(netns)).entered())
        require_net_admin()
        paper = found_in_force(config, wanted.mode)
        plans = _node(paper, objects, parameters).plans if objects else {}
        for family in families(parameters["family"]):
            sought = Sought(
                family=family, namespace=asked.namespace, name=asked.name, port=asked.port
            )
            if family in plans:
                sought = sought_in(plans[family], asked.namespace, asked.name, asked.port)
            listing = read_listing(paper.mode, family, paper.options)
            blocks.append(
                Block(
                    of=f"namespace {netns}" if netns else "this machine",
                    mode=paper.mode.name,
                    family=family.value,
                    rules=service_rules(paper.mode, listing, sought),
                    in_force=True,
                )
            )
    if not objects and not any(block.rules for block in blocks):
        raise BadInput([f"no rule names Service {asked}"])
    return blocks


def _values(
    asked: ServiceName, blocks: Iterable[Block], effects: Iterable[Effect]
) -> dict[str, Any]:
    from kproxy.rules.service import values

    return {
        "service": str(asked),
        "blocks": [
            {"of": each.of, "mode": each.mode, "family": each.family, "rules": values(each.rules)}
            for each in blocks
        ],
        "differences": [
            {"what": each.what, "before": each.before, "after": each.after} for each in effects
        ],
    }


def _report(
    asked: ServiceName, blocks: list[Block], effects: list[Effect], width: int
) -> Iterator[str]:
    from kproxy.rules.report import rule_lines

    shown = [each for each in blocks if each.rules]
    for number, block in enumerate(shown):
        if number:
            yield ""
        yield from wrapped(f"{asked} on {block.of}: {block.mode} mode, {block.family}", width)
        yield ""
        yield from rule_lines(block.rules, width)
    counts = [rule.packets for block in shown for rule in block.rules]
    if shown and all(each.in_force for each in shown) and set(counts) == {None}:
        yield ""
        yield f"no packets are shown: these rules of {shown[0].mode} mode do not count any"
    if not shown:
        yield f"{asked} has no rules: it has no cluster IP, or none of this family"
    if len({each.mode for each in blocks}) > 1:
        yield ""
        yield "what differs in effect" if effects else "nothing that is known differs in effect"
        before, after = dict.fromkeys(each.mode for each in blocks)
        for effect in effects:
            yield from wrapped(f"  {effect.what}", width)
            yield from wrapped(f"    {before}: {effect.before}", width)
            yield from wrapped(f"    {after}: {effect.after}", width)
