"""Refusals of an object in the words of the Kubernetes API server.

Source: apimachinery, pkg/util/validation/field/errors.go and pkg/api/errors
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.json import encode

from kproxy.api.types import Service
from kproxy.errors import BadInput

FieldValue = str | int | tuple[str, ...] | None


def invalid(field: str, value: FieldValue, detail: str) -> str:
    """Return the text for an invalid value, which is shown as JSON, as in the API server."""
    return f"{field}: Invalid value: {encode(value).decode()}: {detail}"


def forbidden(field: str, detail: str) -> str:
    return f"{field}: Forbidden: {detail}"


def refusal(service: Service, problems: Iterable[str]) -> BadInput:
    """Return one line for each problem, where the API server lists them in brackets."""
    return BadInput([f'Service "{service.metadata.name}" is invalid: {each}' for each in problems])


def exhausted(what: str, reason: BadInput) -> BadInput:
    """Return the text for a full range or refused health check port: an internal error there."""
    return BadInput([f"Internal error occurred: {what}: {reason}"])
