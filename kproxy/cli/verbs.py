"""`kproxy get`, `apply`, `delete`, `scale`: what kubectl does, for people without it.

They go through the API of a lab, as kubectl does, and print the same lines.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click

from kproxy.cli.api_client import access_of, client_of, complain, mistake
from kproxy.cli.api_kinds import Kind, find_kinds, kind_of, kinds_of
from kproxy.cli.api_tables import print_tables
from kproxy.cli.completing import complete_lab, complete_namespace, completes_objects
from kproxy.errors import BadInput
from kproxy.resident.api_client import ApiClient, Json, Refusal

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_MANAGER = "kproxy"
_BOOKKEEPING = {"resourceVersion", "managedFields"}
_LOOK_AGAIN_S = 0.05
_PAGE = "500"
_MIXED = (
    "there is no need to specify a resource type as a separate argument when passing arguments in "
    "resource/name form (e.g. 'kproxy get resource/<resource_name>' instead of 'kproxy get "
    "resource resource/<resource_name>'"
)

_lab_option = click.option(
    "--lab", metavar="NAME", help="The lab, if there are several.", shell_complete=complete_lab
)
_namespace_option = click.option(
    "-n",
    "--namespace",
    default="default",
    metavar="NAME",
    help="The namespace. Default: default.",
    shell_complete=complete_namespace,
)
_file_option = click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    metavar="FILE",
    help="A manifest or a folder of manifests; - is standard input. May be repeated.",
)


@contextmanager
def connected(lab: str | None) -> Iterator[ApiClient]:
    """Yield a client of the lab's API. What the server refuses ends the command with status 1."""
    client = client_of(access_of(lab))
    try:
        yield client
    except Refusal as error:
        complain(error)
        sys.exit(1)
    finally:
        client.close()


@click.command()
@click.argument(
    "what",
    nargs=-1,
    required=True,
    metavar="KIND [NAME...]",
    shell_complete=completes_objects("list"),
)
@_lab_option
@_namespace_option
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="Of all namespaces.")
@click.option("-l", "--selector", default="", help="Only objects with these labels: app=web.")
@click.option("-w", "--watch", is_flag=True, help="Go on to show every change, until Ctrl-C.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["wide", "json", "yaml", "name"]),
    help="wide: more columns; json, yaml: whole objects.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as with -o json.")
def get(
    what: tuple[str, ...],
    lab: str | None,
    namespace: str,
    everywhere: bool,
    selector: str,
    watch: bool,
    output: str | None,
    as_json: bool,
) -> None:
    """Show objects of a lab, as `kubectl get` does.

    \b
    Examples:
      kproxy get pods -A
      kproxy get svc,endpointslices
      kproxy get deploy/web -o yaml
      kproxy get svc web --json
      kproxy get pods -w
    """
    if as_json:
        if output not in (None, "json"):
            raise BadInput([f"--json: -o {output} is another form; give only one of them"])
        output = "json"
    with connected(lab) as client:
        wanted = [*_wanted(kinds_of(client), what)]
        query = {"labelSelector": selector} if selector else {}
        accept = _TABLE if output in (None, "wide") else "application/json"
        if watch:
            from kproxy.cli.watching import one_watched

            wanted = [one_watched(wanted)]
        answers = []
        for kind, name in wanted:
            space = None if everywhere and not name else namespace
            paged = query if name else {**query, "limit": _PAGE}
            answers.append((kind, _all(client, kind.path(space, name), paged, accept)))
            if watch:
                named = {"fieldSelector": f"metadata.name={name}"} if name else {}
                _watch(client, kind, space, {**query, **named}, answers[0][1], output)
                return
        if output in (None, "wide"):
            where = "" if everywhere else namespace
            print_tables(answers, wide=output == "wide", everywhere=everywhere, namespace=where)
        else:
            _print_objects(answers, output or "", single=len(wanted) == 1)


@click.command()
@_file_option
@_lab_option
@_namespace_option
def apply(files: tuple[str, ...], lab: str | None, namespace: str) -> None:
    """Create objects or change them to what manifests say, as `kubectl apply` does.

    \b
    Examples:
      kproxy apply -f examples/services/cluster-ip.yaml
      kproxy apply -f manifests/ -n shop
    """
    documents = _documents(files)
    with connected(lab) as client:
        kinds = kinds_of(client)
        failed = False
        for document in documents:
            try:
                kind = kind_of(kinds, document)
                name, path = _place(kind, document, namespace)
                click.echo(f"{kind.told(name)} {_applied(client, path, document)}")
            except Refusal as error:
                complain(error)
                failed = True
    if failed:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument(
    "what", nargs=-1, metavar="KIND NAME...", shell_complete=completes_objects("delete")
)
@_file_option
@_lab_option
@_namespace_option
@click.option("--wait/--no-wait", default=True, help="Wait until they are gone (default).")
def delete(
    what: tuple[str, ...], files: tuple[str, ...], lab: str | None, namespace: str, wait: bool
) -> None:
    """Delete objects, by name or by the manifests they are from, as `kubectl delete` does.

    \b
    Examples:
      kproxy delete service web
      kproxy delete -f examples/services/cluster-ip.yaml
    """
    if bool(what) == bool(files):
        raise BadInput(["delete: give either a kind and names, or -f"])
    documents = _documents(files) if files else []
    with connected(lab) as client:
        kinds = kinds_of(client)
        paths: list[tuple[Kind, str, str]] = []
        for kind, name in _wanted(kinds, what) if what else ():
            if not name:
                raise mistake("resource(s) were provided, but no name was specified")
            paths.append((kind, name, kind.path(namespace, name)))
        for document in documents:
            kind = kind_of(kinds, document)
            name, path = _place(kind, document, namespace)
            paths.append((kind, name, path))
        failed, going = False, []
        for kind, name, path in paths:
            try:
                client.ask("DELETE", path, body={"propagationPolicy": "Background"})
            except Refusal as error:
                complain(error)
                failed = True
                continue
            suffix = f".{kind.group}" if kind.group else ""
            space = path.split("/namespaces/")[1].split("/")[0] if kind.namespaced else ""
            where = f" from {space} namespace" if space else ""
            click.echo(f'{kind.singular}{suffix} "{name}" deleted{where}')
            going.append(path)
        for path in going if wait else ():
            while _exists(client, path):
                time.sleep(_LOOK_AGAIN_S)
    if failed:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument(
    "what",
    nargs=-1,
    required=True,
    metavar="KIND NAME",
    shell_complete=completes_objects(subresource="scale"),
)
@click.option("--replicas", type=click.IntRange(0), required=True, help="How many pods to run.")
@_lab_option
@_namespace_option
def scale(what: tuple[str, ...], replicas: int, lab: str | None, namespace: str) -> None:
    """Set how many pods a Deployment, ReplicaSet or StatefulSet runs, as `kubectl scale` does.

    \b
    Examples:
      kproxy scale deployment web --replicas 5
      kproxy scale deploy/web --replicas 0
    """
    with connected(lab) as client:
        for kind, name in _wanted(kinds_of(client), what):
            if not name:
                raise mistake("resource(s) were provided, but no name was specified")
            path = kind.path(namespace, name, "scale")
            client.ask("PATCH", path, body={"spec": {"replicas": replicas}}, content_type=_MERGE)
            click.echo(f"{kind.told(name)} scaled")


def _wanted(kinds: list[Kind], words: tuple[str, ...]) -> Iterator[tuple[Kind, str]]:
    """Yield kind and name ("": all) for words such as `svc web`, `svc/web pod/a`, `svc,pods`."""
    if any("/" in word for word in words):
        for word in words:
            kind, _, name = word.partition("/")
            if not name or "/" in name:
                raise mistake(_MIXED)
            yield from ((each, name) for each in find_kinds(kinds, kind))
        return
    found = find_kinds(kinds, words[0])
    for name in words[1:] or ("",):
        yield from ((each, name) for each in found)


def _watch(
    client: ApiClient,
    kind: Kind,
    namespace: str | None,
    query: Mapping[str, str],
    begin: Json,
    output: str | None,
) -> None:
    """Show what a kind, or one object, began with, and every change; `namespace` None: of all."""
    from kproxy.cli.watching import follow, object_shown, table_shown

    everywhere = namespace is None and kind.namespaced
    if output in (None, "wide"):
        show = table_shown(wide=output == "wide", everywhere=everywhere)
    else:
        show = object_shown(kind, output or "")
    accept = _TABLE if output in (None, "wide") else "application/json"
    follow(client, kind.path(namespace), begin, show, query, accept)


def _all(client: ApiClient, path: str, query: Mapping[str, str], accept: str) -> Json:
    """Return an answer with all of its pages."""
    answer = client.ask("GET", path, query=query, accept=accept)
    key = "rows" if answer.get("kind") == "Table" else "items"
    rest = answer
    while token := (rest.get("metadata") or {}).get("continue"):
        rest = client.ask("GET", path, query={**query, "continue": token}, accept=accept)
        answer[key] = [*answer[key], *rest[key]]
    return answer


def _applied(client: ApiClient, path: str, document: Json) -> str:
    """Apply one object, and return what became of it."""
    former = _found(client, path)
    query = {"fieldManager": _MANAGER, "force": "true", "fieldValidation": "Strict"}
    stored = client.ask("PATCH", path, query=query, body=document, content_type=_APPLY)
    if former is None:
        return "created"
    return (
        "unchanged"
        if _without_bookkeeping(stored) == _without_bookkeeping(former)
        else "configured"
    )


def _found(client: ApiClient, path: str) -> Json | None:
    """Return an object; None if there is none."""
    try:
        return client.ask("GET", path)
    except Refusal as error:
        if error.status == 404:
            return None
        raise


def _exists(client: ApiClient, path: str) -> bool:
    return _found(client, path) is not None


def _without_bookkeeping(stored: Json) -> Json:
    """Return an object without what controllers write, perhaps while it is being applied."""
    metadata = {key: value for key, value in stored["metadata"].items() if key not in _BOOKKEEPING}
    notes = metadata.get("annotations", {}).items()
    metadata["annotations"] = {
        key: value for key, value in notes if not key.startswith("deployment.kubernetes.io/")
    }
    return {**stored, "metadata": metadata, "status": None}


def _place(kind: Kind, document: Json, namespace: str) -> tuple[str, str]:
    """Return the name of a manifest's object, and its path. Raises BadInput."""
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str) or not name:
        raise mistake("resource name may not be empty")
    return name, kind.path(str(metadata.get("namespace") or namespace), name)


def _documents(files: tuple[str, ...]) -> list[Json]:
    """Return the objects of manifests, those of lists one by one. Raises BadInput."""
    from kproxy.api.documents import ListKind, items_of, plain
    from kproxy.api.manifests import manifest_files

    if not files:
        raise BadInput(["apply: -f is missing"])
    found: list[Json] = []
    problems: list[str] = []
    for file in files:
        path = Path(file)
        for each in manifest_files(path) if path.is_dir() else [path]:
            try:
                stdin = file == "-"
                text = sys.stdin.read() if stdin else each.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
                problems.append(f"{each}: {reason}")
                continue
            for item in items_of(text, str(each), {"List": ListKind("v1")}):
                problems += [fault.at(str(each)) for fault in item.problems]
                if item.value is not None:
                    about = {"apiVersion": item.api_version or "", "kind": item.kind or ""}
                    found.append({**plain(item.value), **about})
    if problems:
        raise BadInput(problems)
    if not found:
        raise BadInput(["no objects passed to apply"])
    return found


def _print_objects(answers: list[tuple[Kind, Json]], output: str, *, single: bool) -> None:
    """Print whole objects, or their names: one as it is, several as a List."""
    found: list[tuple[Kind, Json]] = []
    for kind, answer in answers:
        for each in answer.get("items", [answer]):
            head = {"apiVersion": f"{kind.group}/{kind.version}".lstrip("/"), "kind": kind.kind}
            found.append((kind, {**head, **each}))
    if output == "name":
        for kind, each in found:
            click.echo(kind.told(each["metadata"]["name"]))
        return
    named = single and "items" not in answers[0][1]
    members = [each for _, each in found]
    for each in members:
        each.get("metadata", {}).pop("managedFields", None)
    whole: Json = (
        members[0]
        if named
        else {
            "apiVersion": "v1",
            "items": members,
            "kind": "List",
            "metadata": {"resourceVersion": ""},
        }
    )
    if output == "json":
        click.echo(json.dumps(whole, indent=4))
        return
    import yaml

    click.echo(yaml.safe_dump(whole, sort_keys=True), nl=False)
