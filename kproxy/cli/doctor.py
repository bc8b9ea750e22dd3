"""`kproxy doctor`: finds what is wrong with Services and nodes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from kproxy.api.service_names import ServiceName, service_in
from kproxy.cli.completing import complete_lab
from kproxy.cli.labs import living_lab
from kproxy.cli.page_file import html_option, write_page
from kproxy.errors import BadInput

if TYPE_CHECKING:
    from kproxy.doctor import Diagnosis
    from kproxy.doctor.facts import Facts
    from kproxy.store import ServiceKey

_ANSWER_S = 120.0  # of a large lab


@click.command()
@click.argument("what", metavar="[svc/NAME[.NAMESPACE]]", required=False)
@click.option("--lab", metavar="NAME", shell_complete=complete_lab, help="A lab that is up.")
@click.option(
    "--manifests",
    metavar="PATH",
    multiple=True,
    help="Objects as YAML or JSON: a file or a folder. May be repeated. As from: kubectl get -A "
    "services,endpointslices,nodes,pods -o yaml",
)
@click.option("--kubeconfig", metavar="FILE", default="", help="The objects of an API server.")
@click.option("--node", is_flag=True, help="The kernel of this machine, which is a node.")
@click.option(
    "-n", "--namespace", metavar="NAME", default="", help="Of Services, only those in it."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
@html_option
def doctor(
    what: str | None,
    lab: str | None,
    manifests: tuple[str, ...],
    kubeconfig: str,
    node: bool,
    namespace: str,
    as_json: bool,
    html: str | None,
) -> None:
    """Find what is wrong with Services and nodes, with evidence and a remedy for each finding.

    What is looked at: a lab (the only one, by default), with the kernels of all its nodes and pods;
    or manifests; or the objects of an API server; or this machine, with the objects of a
    --kubeconfig if there is one. Of findings about one Service, svc/NAME leaves only its own.

    Everything is only read. In a lab, questions are sent to its DNS. Checks that could not be made
    are listed as left out.

    \b
    Examples:
      kproxy doctor
      kproxy doctor --lab shop svc/web.prod
      kproxy doctor --manifests cluster.yaml
      kproxy doctor --kubeconfig ~/.kube/config --html findings.html
      sudo kproxy doctor --node --kubeconfig /etc/kubernetes/kubelet.conf

    \b
    Exit status:
      0  nothing was found
      1  there are findings
      2  bad input
    """
    given = [("--lab", bool(lab)), ("--manifests", bool(manifests))]
    given += [("--node", node)] if node else [("--kubeconfig", bool(kubeconfig))]
    chosen = [name for name, there in given if there]
    if node and kubeconfig and len(chosen) == 1:
        chosen = ["--node"]
    if len(chosen) > 1 or (kubeconfig and (lab or manifests)):
        names = [*chosen, *(["--kubeconfig"] if kubeconfig and node else [])]
        raise BadInput([f"{' and '.join(names)}: give only one of them to look at"])
    named = _service(what, namespace) if what is not None else None
    namespace, name = (named.namespace, named.name) if named else (namespace, "")
    if manifests or kubeconfig or node:
        diagnosis = _diagnosed(manifests, kubeconfig, namespace, name, node=node)
    else:
        diagnosis = _of_lab(lab, namespace, name)
    if as_json:
        from kproxy.doctor.report import values

        click.echo(json.dumps(values(diagnosis), indent=2))
    else:
        from kproxy.doctor.report import print_report

        print_report(diagnosis)
    if html:
        from kproxy.doctor.page import page_of

        write_page(html, page_of(diagnosis))
    if diagnosis.findings:
        raise click.exceptions.Exit(1)


def _service(what: str, namespace: str) -> ServiceName:
    """Return the Service that is named. Raises BadInput."""
    named = service_in(what, namespace)
    if named.port:
        raise BadInput([f"{what}: all ports of a Service are looked at; leave out the port"])
    return named


def _of_lab(lab: str | None, namespace: str, service: str) -> Diagnosis:
    from kproxy.doctor.report import diagnosis_of
    from kproxy.resident.control import ask

    request = {"do": "doctor", "namespace": namespace, "service": service}
    return diagnosis_of(dict(ask(living_lab(lab), request, timeout_s=_ANSWER_S).values))


def _diagnosed(
    manifests: tuple[str, ...], kubeconfig: str, namespace: str, service: str, *, node: bool
) -> Diagnosis:
    from kproxy.doctor import diagnose
    from kproxy.doctor.from_objects import looked_at

    facts = _facts(manifests, kubeconfig, node=node)
    key: ServiceKey | None = (namespace or "default", service) if service else None
    return diagnose(facts, looked_at=looked_at(facts), namespace=namespace, service=key)


def _facts(manifests: tuple[str, ...], kubeconfig: str, *, node: bool) -> Facts:
    if node:
        from kproxy.doctor.from_node import from_node

        return from_node(kubeconfig)
    from kproxy.doctor.from_objects import from_api_server, from_manifests, without_kernels

    if manifests:
        return from_manifests(manifests)
    from msgspec.structs import replace

    facts = from_api_server(kubeconfig)
    kernels = without_kernels("only --lab and --node look at kernels")
    return replace(facts, missing=(*facts.missing, *kernels))
