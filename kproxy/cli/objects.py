"""Objects that commands predict from: of manifests, of an API server, or of a lab."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kproxy.cli.progress import say
from kproxy.errors import BadInput

if TYPE_CHECKING:
    from kproxy.api.manifests import Decoded
    from kproxy.api.types import KubernetesObject


def read_manifests(paths: Sequence[str]) -> Sequence[KubernetesObject]:
    """Return the objects of manifests, as a proxy reads them. Raises BadInput."""
    from kproxy.api.manifests import load
    from kproxy.garbage import uncollected

    with uncollected():
        decoded = load(paths, stored=True)
    return told(decoded, paths)


def told(decoded: Decoded, paths: Sequence[str]) -> tuple[KubernetesObject, ...]:
    """Return the objects of manifests, and print their notices. Raises BadInput for problems, and
    if there is no object: a question about nothing is a slip.
    """
    if decoded.problems:
        raise BadInput(list(decoded.problems))
    if not decoded.objects:
        raise BadInput([*decoded.notices] or [f"{', '.join(paths)}: there is no object"])
    for notice in decoded.notices:
        say(notice)
    return decoded.objects


def read_api(kubeconfig: str) -> Sequence[KubernetesObject]:
    """Return the objects that an API server has now, but for those that no proxy would accept.

    Raises BadInput, Unreachable.
    """
    from kproxy.kubernetes.connection import Connection
    from kproxy.kubernetes.resources import (
        ALL_SERVICES,
        ENDPOINT_SLICES,
        NODES,
        PODS,
        SERVICE_CIDRS,
    )
    from kproxy.sources.once import read_once

    connection = Connection(kubeconfig)
    try:
        objects, problems = read_once(
            connection, (ALL_SERVICES, ENDPOINT_SLICES, SERVICE_CIDRS, NODES, PODS)
        )
    finally:
        connection.close()
    for problem in problems:
        say(problem)
    return objects


def in_lab(lab: str | None, node: str) -> tuple[Path, str, list[str]]:
    """Return a lab's place, its kubeconfig, and the configurations of the proxies of its nodes, in
    their order, or that of `node` alone.

    `lab` None: the only one, see `living_lab`. Raises BadInput.
    """
    from kproxy.cli.labs import living_lab
    from kproxy.resident.commands import config_name
    from kproxy.resident.records import KUBECONFIG

    place = living_lab(lab)
    kubeconfig = place / KUBECONFIG
    if not kubeconfig.exists():
        raise BadInput([f"lab {place.name} serves no API"])
    configs = {path.name: str(path) for path in sorted(place.glob(config_name("*")))}
    own = config_name(node.strip().lower())
    if node and own not in configs:
        known = ", ".join(each.removeprefix(config_name("")) for each in configs)
        raise BadInput([f"--node: lab {place.name} has no node {node!r}; it has: {known}"])
    return place, str(kubeconfig), [configs[own]] if node else [*configs.values()]
