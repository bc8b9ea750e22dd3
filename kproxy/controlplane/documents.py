"""Documents from typed objects: what a type knows is laid over what it does not.

    typed object ---------------+
    document as last submitted -+-> the document to show

A field that the type has wins; all others stay. A field that has its default is shown only if the
document states it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import compress
from operator import attrgetter, is_not
from typing import Any

from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from kproxy.controlplane.plane import Json

_PLAIN = frozenset({str, bool, int, dict})  # types of values that documents have as they are
_MERGE_KEYS = ("name", "type", "ip", "containerPort", "port", "uid")


def overlaid(value: Struct, document: Json) -> Json:
    """Return a document with the values of a typed object; `document` stays as it is."""
    values, defaults = _fields(type(value))
    all_own = values(value)
    # Most are the very object of the default: these are sorted out without a step of Python each.
    others = compress(
        zip(all_own, defaults.items(), strict=True), map(is_not, all_own, defaults.values())
    )
    shown = {key: own for own, (key, default) in others if own != default}
    found = dict(document)
    for key in document:
        if key in defaults and key not in shown:
            _keep_default(found, key, defaults[key])
    for key, own in shown.items():
        found[key] = own if type(own) in _PLAIN else _laid(own, found.get(key))
    return found


def _keep_default(found: Json, key: str, own: Any) -> None:
    """Keep what a document states if it means the default, or has what the type does not know."""
    stated = found[key]
    if isinstance(own, Struct) and isinstance(stated, dict):
        found[key] = overlaid(own, stated)
    elif stated != (list(own) if isinstance(own, tuple) else own):
        del found[key]


def _laid(own: Any, stated: Any) -> Any:
    if isinstance(own, Struct):
        return overlaid(own, stated if isinstance(stated, dict) else {})
    if isinstance(own, tuple):
        return _items(own, stated if isinstance(stated, list) else [])
    return own


def _items(own: tuple[Any, ...], stated: list[Any]) -> list[Any]:
    """Lay list items over those that have their key; without keys, over those of their place."""
    if not isinstance(own[0], Struct):
        return list(own)
    if not stated:
        return [overlaid(each, {}) for each in own]
    for key in _MERGE_KEYS:
        by_key = {each.get(key): each for each in stated if isinstance(each, dict)}
        if None in by_key or len(by_key) < len(stated):
            continue
        own_keys = [_shown(each, key) for each in own]
        if None not in own_keys:
            return [
                overlaid(each, by_key.get(its_key, {}))
                for each, its_key in zip(own, own_keys, strict=True)
            ]
    if len(own) == len(stated):
        return [
            overlaid(each, old if isinstance(old, dict) else {})
            for each, old in zip(own, stated, strict=True)
        ]
    return [overlaid(each, {}) for each in own]


def _shown(value: Struct, key: str) -> Any:
    """Return a field as a document shows it if it does not state it: None for a default."""
    values, defaults = _fields(type(value))
    for own, (name, default) in zip(values(value), defaults.items(), strict=True):
        if name == key:
            return None if own is default or own == default else own
    return None


@cache
def _fields(
    kind: type[Struct],
) -> tuple[Callable[[Struct], Sequence[Any]], dict[str, Any]]:
    """Return what gives the attributes of a value, and their defaults by names in documents;
    required ones have none.
    """
    shown = [
        each
        for each in fields(kind)
        if each.default is not NODEFAULT or each.required or callable(each.default_factory)
    ]
    names = [each.name for each in shown]
    return _values(names), {
        each.encode_name: (
            each.default_factory() if callable(each.default_factory) else each.default
        )
        for each in shown
    }


def _values(names: list[str]) -> Callable[[Struct], Sequence[Any]]:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: [getattr(value, each) for each in names]
