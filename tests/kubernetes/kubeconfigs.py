"""Kubeconfigs for tests. Every secret in them contains `SECRET`."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any

from kproxy.errors import KproxyError

SECRET = "hush-hush"
TOKEN = f"{SECRET}-token"


def document(
    cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **other: Any
) -> dict[str, Any]:
    """Return a kubeconfig of one context. `other`: fields of the file that replace its own."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
        **{name.replace("_", "-"): value for name, value in other.items()},
    }


def write(folder: Path, content: dict[str, Any] | str) -> str:
    """Write a kubeconfig, in one step as editors do, and return its path."""
    new, path = folder / "new", folder / "kubeconfig"
    new.write_text(content if isinstance(content, str) else json.dumps(content))
    new.replace(path)
    return str(path)


def said(error: KproxyError) -> str:
    """Return the error's line, after a look for secrets in all that a traceback would print."""
    printed = "".join(traceback.format_exception(error))
    assert SECRET not in printed + error.remedy + repr(error)
    assert error.remedy
    text = str(error)
    assert "\n" not in text
    return text
