"""Fields that are null in JSON, which Go reads as if they were not there. Pure."""

from __future__ import annotations

from typing import Any


def without_null_fields(value: Any) -> Any:
    """Return a value without null fields of objects, at any depth. Nulls in lists stay."""
    if isinstance(value, dict):
        return {key: without_null_fields(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_null_fields(each) for each in value]
    return value
