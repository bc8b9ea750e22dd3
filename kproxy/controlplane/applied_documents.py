"""Documents of kinds without a type, as manifests have them: applied and deleted all at once.

    judge all of them  ->  Namespaces, then the others: created, or updated to what they state
                       ->  or nothing, with every refusal in the words of the API server

A namespace that does not exist is made, as it is for objects that have a type.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kproxy.controlplane.cluster import Cluster
from kproxy.controlplane.document_verbs import DocumentVerbs
from kproxy.controlplane.kubectl_apply import merged_document
from kproxy.controlplane.plane import DELETE, DeleteOptions, Json, Refused
from kproxy.controlplane.refusals import bad_request
from kproxy.controlplane.registry import document_key
from kproxy.store import ObjectKey

_TRIAL = DeleteOptions(dry_run=True)


class AppliedDocuments:
    """The documents of a cluster that were applied. Not thread-safe: who judges and then writes
    must keep others from writing in between.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._verbs = DocumentVerbs(cluster, makes_namespaces=True)
        self._applied: dict[ObjectKey, tuple[str, Json]] = {}  # as given last, by uid

    def refusals(self, documents: Iterable[Json]) -> list[str]:
        """Return why `apply` would refuse some of these documents. Nothing changes."""
        problems = []
        for each in documents:
            try:
                self._apply(each, dry_run=True)
            except Refused as error:
                problems.append(str(error))
        return problems

    def apply(self, documents: Iterable[Json]) -> None:
        """Create or update objects, whose documents are not refused."""
        for each in sorted(documents, key=lambda each: each["kind"] != "Namespace"):
            stored = self._apply(each, dry_run=False)
            self._applied[document_key(stored)] = (stored["metadata"]["uid"], each)

    def refusals_to_delete(self, keys: Iterable[ObjectKey]) -> list[str]:
        """Return why some of these objects cannot be deleted. Nothing changes."""
        problems = []
        for key in keys:
            try:
                self._verbs.delete(key, _TRIAL)
            except Refused as error:
                problems.append(str(error))
        return problems

    def delete(self, keys: Sequence[ObjectKey]) -> None:
        """Delete objects that exist, and what they own."""
        for key in sorted(keys, key=lambda key: key[0] == "Namespace"):
            self._verbs.delete(key, DELETE)

    def _apply(self, document: Json, *, dry_run: bool) -> Json:
        metadata = document.get("metadata") or {}
        prefix = metadata.get("generateName")
        if prefix and not metadata.get("name"):  # so kubectl says: it could not be found again
            raise bad_request(f"from {prefix}: cannot use generate name with apply")
        key = document_key(document)
        former = self._verbs.get(key)
        if former is None:
            return self._verbs.create(document, dry_run=dry_run)[0]
        uid, last = self._applied.get(key, ("", {}))
        known = last if uid == former["metadata"]["uid"] else {}
        return self._verbs.update(merged_document(former, known, document), dry_run=dry_run)[0]
