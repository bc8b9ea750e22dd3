"""The API server's checks of the labels and annotations of all objects, which a proxy ignores.

Source: apimachinery, pkg/api/validation (ValidateObjectMeta, ValidateAnnotations) of Kubernetes
"""

from __future__ import annotations

from collections.abc import Iterator

from kproxy.api.names import label_value_problem, qualified_name_problem
from kproxy.api.types import Metadata
from kproxy.controlplane.field_errors import invalid

_MOST_BYTES = 256 * 1024  # of all annotations together


def metadata_problems(metadata: Metadata) -> Iterator[str]:
    for key, value in metadata.labels.items():
        if told := qualified_name_problem(key):
            yield invalid("metadata.labels", key, told)
        if told := label_value_problem(value):
            yield invalid("metadata.labels", value, told)
    yield from annotation_problems(metadata)


def annotation_problems(metadata: Metadata) -> Iterator[str]:
    size = 0
    for key, value in metadata.annotations.items():
        size += len(key.encode()) + len(value.encode())
        if told := qualified_name_problem(key.lower()):
            yield invalid("metadata.annotations", key, told)
    if size > _MOST_BYTES:
        yield f"metadata.annotations: Too long: may not be more than {_MOST_BYTES} bytes"
