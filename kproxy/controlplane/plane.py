"""The contract between an API and a control plane: whole documents in, every write out, in order.

A *document* is a complete Kubernetes object as JSON: `apiVersion`, `kind`, `metadata` with
`managedFields`, and also the fields that kproxy has no types for. A stored document is a value: it
is never modified in place, neither by who stores it nor by who reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from kproxy.errors import KproxyError
from kproxy.store import ObjectKey

Json = dict[str, Any]


class Write(NamedTuple):
    """One stored write, as told to followers.

    `document` is None for a deletion, `former` for a creation. `revision` counts the writes of all
    kinds; a document that is not deleted bears it as `metadata.resourceVersion`.
    """

    key: ObjectKey
    document: Json | None
    former: Json | None
    revision: int


class DeleteOptions(NamedTuple):
    """How an object is to be deleted; `uid` and `version` are preconditions unless empty."""

    propagation: str = "Background"  # Foreground, Orphan
    grace_s: int | None = None
    uid: str = ""
    version: str = ""  # resourceVersion
    dry_run: bool = False


DELETE = DeleteOptions()  # as kubectl deletes


class Cause(NamedTuple):
    """One fault of a refused object: a reason such as `FieldValueInvalid`, the field, its words."""

    reason: str
    field: str
    message: str


class Refused(KproxyError):
    """The control plane refuses a request, in the words of the Kubernetes API server.

    `status` is the code of HTTP: 400, 403, 404, 409, 422 or 500; `reason` Kubernetes' word for it,
    such as `Invalid`, `Conflict`, `NotFound` or `AlreadyExists`. Nothing was changed.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        reason: str,
        kind: str = "",
        group: str = "",
        name: str = "",
        causes: tuple[Cause, ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.kind = kind
        self.group = group
        self.name = name
        self.causes = causes


class Lock(Protocol):
    """A lock that its owner may take again, such as threading.RLock."""

    def acquire(self, blocking: bool = True) -> bool: ...

    def release(self) -> None: ...


class Plane(Protocol):
    """A control plane. Its methods may be called from any thread."""

    @property
    def lock(self) -> Lock:
        """Return what each call holds; who has taken it waits for nobody in its next calls."""

    def create(self, document: Json, *, dry_run: bool = False) -> tuple[Json, tuple[str, ...]]:
        """Store a new object; return its document as stored, and warnings. Raises Refused."""

    def update(
        self, document: Json, *, version: str = "", subresource: str = "", dry_run: bool = False
    ) -> tuple[Json, tuple[str, ...]]:
        """Replace an object's document; return it as stored, and warnings. Raises Refused.

        Without a subresource everything but the status is taken, where the kind has one; with
        `status` the status and metadata. If `version` is given, another stored one is a conflict.
        """

    def delete(self, key: ObjectKey, options: DeleteOptions = DELETE) -> Json:
        """Delete an object; return its document as it was, or as it is while it ends.

        Raises Refused.
        """

    def get(self, key: ObjectKey) -> Json | None: ...

    def of_kind(self, kind: str) -> list[Json]:
        """Return the documents of a kind, which may be one without a type."""

    def follow(self, listener: Callable[[Write], None]) -> tuple[list[Json], int]:
        """Return all documents and the revision now; tell `listener` of every later write.

        It is called within the write, in order, and must neither raise nor call the control plane.
        """

    def now(self) -> str:
        """Return the time as objects bear it: RFC 3339 in UTC, whole seconds."""
