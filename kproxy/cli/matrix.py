"""`kproxy matrix`: measures who reaches what, and compares it with vendors' documentation."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource
from msgspec.structs import replace

from kproxy.backend import DEFAULT_MODE, load
from kproxy.cli import proxy_command as other_proxy
from kproxy.cli.emulate import emulate_without_config_option
from kproxy.cli.interrupts import removing_the_lab
from kproxy.cli.mode_choice import ModeChoice
from kproxy.cli.page_file import html_option, write_page
from kproxy.cli.progress import say
from kproxy.errors import BadInput
from kproxy.lab.models import DEFAULT, MODELS
from kproxy.lab.profiles import PROFILES
from kproxy.versions import NEWEST_RELEASED, Version

if TYPE_CHECKING:
    from kproxy.lab.other_proxies import OtherProxies
    from kproxy.matrix.places import Kind
    from kproxy.matrix.plugins import PluginFinding
    from kproxy.matrix.setting import Setting
    from kproxy.report.boards import Chapter

_SERVICES = {
    "clusterip": "clusterip",
    "nodeport": "nodeport",
    "lb": "loadbalancer",
    "dnat": "dnat-gateway",
    "ingress": "nginx-ingress-loadbalancer",
}
_NETWORKS = [name for name in MODELS if name != "routed"]


@click.command()
@click.option(
    "--service",
    "services",
    type=click.Choice([*_SERVICES]),
    multiple=True,
    help="The kind of Service to ask; may be repeated. Default: all.",
)
@click.option(
    "--mode",
    "modes",
    type=ModeChoice(),
    multiple=True,
    help="The proxy mode; may be repeated. Default: iptables.",
)
@click.option(
    "--network",
    "networks",
    type=click.Choice(_NETWORKS),
    multiple=True,
    help="The network model; may be repeated. Default: tunnel, as most clusters have it.",
)
@click.option(
    "--policy",
    "policies",
    type=click.Choice(["Local", "Cluster"]),
    multiple=True,
    help="externalTrafficPolicy; may be repeated. Default: Local.",
)
@click.option(
    "--profile",
    type=click.Choice([*PROFILES]),
    default="upstream",
    show_default=True,
    help="The setup of kube-proxy and load balancers.",
)
@click.option(
    "--compare",
    type=click.Choice([*PROFILES]),
    help="Show only what differs with this profile.",
)
@click.option(
    "--protocol",
    "protocols",
    type=click.Choice(["TCP", "UDP"]),
    multiple=True,
    help="The protocol; may be repeated. Default: both.",
)
@click.option(
    "--family",
    type=click.Choice(["IPv4", "IPv6"]),
    default="IPv4",
    show_default=True,
    help="The family of the lab's addresses.",
)
@click.option(
    "--ipvs-local-fallback/--no-ipvs-local-fallback",
    default=True,
    help="Without it ipvs mode is as before Kubernetes 1.25.",
)
@emulate_without_config_option
@other_proxy.option
@click.option("--seed", is_flag=True, help="Measure the documented tables and compare.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown.")
@html_option
@click.option("--svg", type=click.Path(dir_okay=False), help="Write all tables as a picture.")
@click.pass_context
def matrix(
    context: click.Context,
    services: tuple[str, ...],
    modes: tuple[str, ...],
    networks: tuple[str, ...],
    policies: tuple[str, ...],
    profile: str,
    compare: str | None,
    protocols: tuple[str, ...],
    family: str,
    ipvs_local_fallback: bool,
    emulate: Version | None,
    proxy_command: str | None,
    seed: bool,
    as_json: bool,
    as_markdown: bool,
    html: str | None,
    svg: str | None,
) -> None:
    """Measure who reaches a Service from where, and why not.

    For each network and mode a lab of three nodes with a cloud's edge is built. Clients on nodes,
    in pods and on the internet connect to node ports, load balancers, a DNAT gateway and an
    ingress. Each cell has the outcome, the source address that the server saw, and for a failure
    where and why it occurred, as observed by taps and traces.

    ipvs mode is measured on user-mode Linux if the running kernel has no IPVS. Needs root.

    \b
    Examples:
      kproxy matrix
      kproxy matrix --service lb --network vpc --mode iptables --mode nftables
      kproxy matrix --profile cce --compare upstream
      kproxy matrix --network eni --policy Cluster --html eni.html
      kproxy matrix --seed
      kproxy matrix --seed --json > agreement.json

    \b
    Exit status:
      0  measured; with --seed, everything that can be reproduced agrees
      1  something documented that can be reproduced was measured otherwise
    """
    form = _Form(as_json, as_markdown, html, svg)
    if seed:
        given = {name for name in context.params if _is_given(context, name)}
        if given - {"seed", "as_json", "as_markdown", "html", "svg"}:
            raise BadInput(
                ["--seed measures what the documents say; no other choice is possible"],
                remedy="combine --seed only with --json, --markdown, --html and --svg",
            )
        with removing_the_lab():
            status = _seed(form)
        sys.exit(status)
    from kproxy.matrix.places import Kind
    from kproxy.matrix.setting import Setting

    settings = [
        Setting(
            mode=mode,
            network=network,
            profile=profile,
            policy=policy,
            family=family,
            emulate=emulate or NEWEST_RELEASED,
            local_fallback=ipvs_local_fallback or not load(mode).has_option("ipvs_local_fallback"),
        )
        for network in networks or (DEFAULT,)
        for mode in modes or (DEFAULT_MODE,)
        for policy in policies or ("Local",)
    ]
    kinds = [Kind(_SERVICES[name]) for name in services or _SERVICES]
    others = other_proxy.others(proxy_command)
    with removing_the_lab():
        _show(settings, kinds, protocols or ("TCP", "UDP"), compare, form, others)


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT


@dataclass(frozen=True, slots=True)
class _Form:
    """The outputs for the result: standard output in some form, and files."""

    as_json: bool
    as_markdown: bool
    html: str | None
    svg: str | None

    def __post_init__(self) -> None:
        if self.as_json and self.as_markdown:
            raise BadInput(["--json, --markdown: only one of them can be given"])
        if self.svg and not Path(self.svg).parent.is_dir():  # before minutes of measuring
            raise BadInput([f"{self.svg}: there is no folder {Path(self.svg).parent}"])

    def put(self, title: str, chapters: Sequence[Chapter], legend: str, values: object) -> None:
        from kproxy.report import boards
        from kproxy.report.page import page

        if self.as_json:
            click.echo(json.dumps(values, indent=2))
        elif self.as_markdown:
            click.echo(boards.markdown(chapters, legend))
        else:
            boards.print_chapters(chapters, legend)
        if self.html:
            write_page(self.html, page(title, boards.parts_of(chapters, legend)))
        if self.svg:
            _write(self.svg, boards.picture(chapters, legend))


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput([f"{path}: {error.strerror}"]) from None
    say(f"wrote {path}")


def _show(
    settings: Sequence[Setting],
    kinds: Sequence[Kind],
    protocols: Sequence[str],
    compare: str | None,
    form: _Form,
    others: OtherProxies | None,
) -> None:
    from kproxy.matrix import report
    from kproxy.matrix.agreement import differing
    from kproxy.matrix.elsewhere import measure_all

    started = time.monotonic()
    twins = [replace(setting, profile=compare) for setting in settings] if compare else []
    measured = measure_all([*settings, *twins], kinds, protocols, tell=_measuring, others=others)
    values = [report.cell_values(setting, cells) for setting, cells in measured.items()]
    if compare:
        chapters = [
            report.differences(
                f"{report.title_of(setting)}; and profile {compare}",
                differing(measured[setting], measured[other]),
                setting.profile,
                compare,
            )
            for setting, other in zip(settings, twins, strict=True)
        ]
    else:
        chapters = report.chapters(measured)
    form.put("Access matrix", chapters, report.LEGEND, values)
    say(f"\n{sum(map(len, measured.values()))} cells in {time.monotonic() - started:.1f} s")


def _seed(form: _Form) -> int:
    """Measure and compare the documented tables; return the exit status."""
    from kproxy.matrix import report
    from kproxy.matrix.agreement import by_question, compare, differing
    from kproxy.matrix.elsewhere import measure_all, unawaited
    from kproxy.matrix.plugins import report as plugin_report
    from kproxy.matrix.seeds import node_level_affinity

    started = time.monotonic()
    revisions = node_level_affinity()
    documented = [each for revision in revisions for each in revision.settings.values()]
    twins = {
        setting: replace(setting, mode="nftables")
        for setting in dict.fromkeys(documented)
        if setting.mode == DEFAULT_MODE
    }
    with unawaited(ThreadPoolExecutor(1)) as pool:
        plugins_later = pool.submit(_measure_plugins)
        found = measure_all([*documented, *twins.values()], protocols=("TCP",), tell=_measuring)
        plugins = plugins_later.result()
    measured = {setting: by_question(cells) for setting, cells in found.items()}
    compared = [(revision, compare(revision, measured)) for revision in revisions]
    chapters = [report.comparison(*each, measured) for each in compared]
    unlike = [
        report.differences(
            f"{report.title_of(setting)}; and nftables mode", pairs, "iptables", "nftables"
        )
        for setting, twin in twins.items()
        if (pairs := differing(found[setting], found[twin]))
    ]
    table = plugin_report.chapter("externalTrafficPolicy, by network plugin", plugins)
    values = {
        "plugins": plugin_report.values(plugins),
        "comparisons": [value for _, each in compared for value in report.comparison_values(each)],
        "measured": [report.cell_values(setting, cells) for setting, cells in found.items()],
    }
    legend = f"{report.SEED_LEGEND} Network plugins: {plugin_report.LEGEND}"
    form.put("Documented and measured", [*chapters, *unlike, table], legend, values)
    for revision, comparisons in compared:
        for line in report.summary(revision, comparisons):
            say(line)
    alike = "not equal to" if unlike else "equal to"
    say(f"nftables columns: {alike} the iptables ones")
    for line in plugin_report.summary(plugins):
        say(line)
    say(f"{time.monotonic() - started:.1f} s in all")
    bad = [each for _, comparisons in compared for each in comparisons if each.disappoints]
    for each in bad:
        statement = each.statement
        say(
            f"DISAGREES: {statement.revision}, {statement.column}: "
            f"{statement.question.client} asks {statement.question.target} "
            f"({statement.question.kind}): documented "
            f"{statement.expect}, measured {each.cell.connection.outcome}: {each.cell.reason.text}"
        )
    doubtful = [each for its in plugins.values() for each in its if each.disappoints]
    for finding in doubtful:
        said = finding.statement
        say(f"DISAGREES: {said.plugin}, {said.row}, {said.policy}: {finding.measured}")
    return 1 if bad or unlike or doubtful else 0


def _measure_plugins() -> dict[str, list[PluginFinding]]:
    """Return findings by column. The document has Flannel with ipvs as before Kubernetes 1.25."""
    from kproxy.matrix.elsewhere import unawaited
    from kproxy.matrix.plugins import measure_example, measure_plugins

    with unawaited(ThreadPoolExecutor(1)) as pool:
        _measuring("network plugins, ipvs")
        older = pool.submit(measure_example)
        _measuring("network plugins, iptables")
        found = measure_plugins("iptables")
        return {"iptables mode": found, "ipvs before 1.25": older.result()}


def _measuring(what: str) -> None:
    say(f"measuring: {what} ...")
