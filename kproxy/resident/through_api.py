r"""A lab whose objects take the way of a cluster's: by requests to its API, and back by watches.

    verbs -> requests over HTTPS -> API -> watches over HTTPS, one of each node -> proxies
                                     |
                                     plane: the lab's control plane or, without one, what was given

A change is in force when every proxy has synced what the API has of the changed objects.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from typing import cast

from msgspec import Raw
from msgspec.json import encode

from kproxy.api.types import KubernetesObject
from kproxy.apiserver.resources import BY_PATH
from kproxy.apiserver.selectors import Selection, selection
from kproxy.controlplane.plane import Json, Plane
from kproxy.errors import BadInput
from kproxy.kubernetes import stream
from kproxy.kubernetes.resources import Resource, own_node
from kproxy.kubernetes.stream import Rejection
from kproxy.lab import Lab
from kproxy.lab.object_verbs import ObjectVerbs
from kproxy.resident.api import LabApi
from kproxy.resident.api_source import ApiSources, View, collections
from kproxy.resident.api_verbs import ApiVerbs, ObjectWriter, Requests
from kproxy.resident.document_plane import DocumentPlane
from kproxy.resident.kubeconfig import read_access
from kproxy.resident.records import INSIDE, KUBECONFIG
from kproxy.resident.runs import claim_for_run
from kproxy.store import ObjectKey, Update, object_key


class ThroughApi:
    """A source of objects (`kproxy.lab.object_source`) for one lab: an API of its own.

    Where some of several objects are refused, the others are written, as by kubectl.
    """

    plane: Plane
    """The objects that the API has, from `start` on."""

    def start(
        self, lab: Lab, verbs: ObjectVerbs, undo: ExitStack
    ) -> tuple[ObjectVerbs, Callable[[Update], None]]:
        """Serve an API, and let the proxies watch it. Raises what `LabApi` and `ApiSources` do."""
        place = claim_for_run(lab, secrets.token_hex(16), undo).path
        plane = self.plane = lab.plane if lab.spec.control_plane else DocumentPlane(())
        undo.callback(LabApi(lab, plane, place, 0).close)
        requests = Requests(read_access(place / KUBECONFIG))
        undo.callback(requests.close)
        writer = ObjectWriter(requests)
        if not lab.spec.control_plane:
            writer.write(Update(upserts=lab.own_objects()))
        sources = ApiSources(lab, place / INSIDE)
        undo.callback(sources.close)
        stored = _Stored(plane, lab)

        def in_force(update: Update) -> None:
            sources.await_on_all(stored.is_in_force(update))

        def write(update: Update) -> None:
            writer.write(update)
            in_force(update)

        if not lab.spec.control_plane:
            return verbs, write
        # It passes on what it does not have itself, which no type can say.
        return cast(ObjectVerbs, ApiVerbs(verbs, requests)), in_force


class _Stored:
    """The objects that a plane has, as the proxies of a lab read them."""

    def __init__(self, plane: Plane, lab: Lab) -> None:
        self._plane = plane
        read = [*collections(lab), *map(own_node, lab.nodes)]
        self._collections = [(each, _selection(each)) for each in read]
        self._decoded: dict[ObjectKey, tuple[Json, KubernetesObject | None]] = {}

    def is_in_force(self, update: Update) -> Callable[[str, View], bool]:
        """Return what tells of a node whether it has, of all the objects of an update, what the
        plane has by then.
        """
        keys = {*map(object_key, update.upserts), *update.deletes}

        def has_come(node: str, view: View) -> bool:
            mine = (key for key in keys if key[0] != "Node" or key[2] == node)
            return all(view.get(key) == self._object(key) for key in mine)

        return has_come

    def _object(self, key: ObjectKey) -> KubernetesObject | None:
        """Return an object; None if there is none, or if proxies do not ask for it."""
        document = self._plane.get(key)
        if document is None:
            return None
        former, obj = self._decoded.get(key, (None, None))
        if former is not document:
            obj = self._read(document)
            self._decoded[key] = (document, obj)
        return obj

    def _read(self, document: Json) -> KubernetesObject | None:
        for resource, selected in self._collections:
            if resource.kind == document["kind"] and selected.matches(document):
                data = Raw(encode(document))
                found = stream.decode(resource.kind, data, stream.head(data))
                if isinstance(found, Rejection):
                    raise BadInput([f"{found.name}: {each}" for each in found.problems])
                return found
        return None


def _selection(wanted: Resource) -> Selection:
    root, _, plural = wanted.path.rpartition("/")
    version = root.removeprefix("/apis/").removeprefix("/api/")
    selectors = wanted.selectors
    labels, fields = selectors.get("labelSelector", ""), selectors.get("fieldSelector", "")
    return selection(BY_PATH[version, plural], labels, fields)
