"""Namespaces, and what each of them has from the beginning.

    Namespace there        -> ServiceAccount `default`, ConfigMap `kube-root-ca.crt`
    Namespace is deleted   -> all that is in it is deleted, then the Namespace

Source: pkg/controller/namespace, serviceaccount and certificates/rootcacertpublisher of Kubernetes
"""

from __future__ import annotations

from collections.abc import Mapping

from kproxy.controlplane.plane import Json
from kproxy.controlplane.writes import Writes
from kproxy.store import ObjectKey

SYSTEM = ("default", "kube-system", "kube-public", "kube-node-lease")
PROTECTED = ("default", "kube-system", "kube-public")  # may not be deleted
ROOT_CA = "kube-root-ca.crt"


class Namespaces:
    """The Namespaces of a cluster."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes
        self._documents = writes.registry.documents
        self._known: set[str] = set()  # that are there, and do not end
        self._root_ca: Mapping[str, str] = {}
        self._content: list[ObjectKey] = []
        for each in SYSTEM:
            self.ensure(each)

    def publish(self, root_ca: Mapping[str, str]) -> None:
        """Let every namespace have this data in its ConfigMap `kube-root-ca.crt`."""
        self._root_ca = dict(root_ca)
        self._writes.namespaces_due |= self._known

    def ensure(self, name: str) -> None:
        """Let a Namespace exist; "" is for objects that are in none."""
        if name and name not in self._known and name not in self._writes.terminating:
            self._writes.write_document(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            )
            self._fill(name)

    def state(self, name: str) -> str:
        """Return the phase of a Namespace, Active or Terminating; "" if it does not exist."""
        found = self._documents.get(("Namespace", "", name))
        if found is None:
            return ""
        return "Terminating" if found["metadata"].get("deletionTimestamp") else "Active"

    def reconcile(self) -> None:
        """Fill the Namespaces that are new, and empty those that end."""
        due, self._writes.namespaces_due = sorted(self._writes.namespaces_due), set()
        for name in due:
            state = self.state(name)
            if state == "Active":
                self._fill(name)
            elif state == "Terminating":
                self._known.discard(name)
                self._end(name)
            else:
                self._known.discard(name)
                self._writes.terminating.discard(name)

    def content_to_delete(self) -> list[ObjectKey]:
        """Return, once, what is in Namespaces that began to end."""
        found, self._content = self._content, []
        return found

    def _fill(self, name: str) -> None:
        self._known.add(name)
        account: ObjectKey = ("ServiceAccount", name, "default")
        if self._documents.get(account) is None:
            self._writes.write_document(_document("v1", account))
        config: ObjectKey = ("ConfigMap", name, ROOT_CA)
        former = self._documents.get(config)
        if self._root_ca and (former is None or former.get("data") != self._root_ca):
            self._writes.write_document(
                {**(former or _document("v1", config)), "data": dict(self._root_ca)}
            )

    def _end(self, name: str) -> None:
        key: ObjectKey = ("Namespace", "", name)
        self._writes.terminating.add(name)
        left = self._documents.keys(namespace=name)
        document = self._documents.get(key)
        if document is None:
            return
        if not left:
            if not document["metadata"].get("finalizers"):
                self._writes.remove(key)
                self._writes.terminating.discard(name)
        else:
            ends = [each for each in left if not self._ends(each)]
            self._content += ends

    def _ends(self, key: ObjectKey) -> bool:
        found = self._documents.get(key)
        return found is None or bool(found["metadata"].get("deletionTimestamp"))


def _document(api_version: str, key: ObjectKey) -> Json:
    kind, namespace, name = key
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}
