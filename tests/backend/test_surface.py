"""Names that authors of backends rely on, as a list: a change shows in the diff of surface.txt.

Written again by `python -m tests.backend.test_surface`. A change that breaks backends asks for
another CONTRACT_VERSION, an entry in CHANGELOG.md and a line in docs/backends.md.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import msgspec

import kproxy.backend
from kproxy.testing import backend_contract, memory_backend

SURFACE = Path(__file__).with_name("surface.txt")
MODULES: tuple[ModuleType, ...] = (kproxy.backend, backend_contract, memory_backend)


def surface() -> str:
    return "".join(f"{line}\n" for module in MODULES for line in _lines(module))


def _lines(module: ModuleType) -> Iterator[str]:
    yield f"# {module.__name__}"
    public = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if name[0] != "_" and getattr(value, "__module__", "") == module.__name__
    ]
    for name in sorted(public):
        yield from _described(name, getattr(module, name))


def _described(name: str, value: object) -> Iterator[str]:
    if callable(value) and inspect.isfunction(inspect.unwrap(value)):
        yield f"{name}{_signature(value)}"
    elif not inspect.isclass(value):
        yield f"{name} = {value!r}"
    elif issubclass(value, enum.Enum):
        yield f"{name}: {', '.join(member.name for member in value)}"
    else:
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"{name}({bases})"
        yield from (f"    {line}" for line in _members(value))


def _members(kind: type) -> Iterator[str]:
    fields: tuple[str, ...] = getattr(kind, "__struct_fields__", ())
    yield from (f"{field}: {_type(kind, field)}" for field in fields)
    yield from getattr(kind, "_fields", ())  # of a tuple
    for name in sorted(dir(kind)):
        member = inspect.getattr_static(kind, name)
        if isinstance(member, property) and member.fget:
            yield f"{name} -> {inspect.signature(member.fget).return_annotation}"
        elif inspect.isfunction(member) and _is_public(kind, name):
            yield name if name.startswith("test_") else f"{name}{_signature(member)}"


def _is_public(kind: type, name: str) -> bool:
    if name == "__init__":
        return name in vars(kind) and not getattr(kind, "_is_protocol", False)
    return name[0] != "_" and not issubclass(kind, Mapping)


def _type(kind: type, field: str) -> str:
    text = next(vars(each)["__annotations__"][field] for each in kind.__mro__ if _has(each, field))
    required = {each.name for each in msgspec.structs.fields(kind) if each.required}
    return f"{text}" if field in required else f"{text} = ..."


def _has(kind: type, field: str) -> bool:
    return field in vars(kind).get("__annotations__", {})


def _signature(function: Callable[..., object]) -> str:
    signature = str(inspect.signature(function))
    return re.sub(r"(?<=[:>] )'([^']+)'", r"\1", signature)


def test_the_surface_is_the_one_that_was_agreed_on() -> None:
    assert surface() == SURFACE.read_text()


if __name__ == "__main__":
    SURFACE.write_text(surface())
