"""An operator of kopf for ConfigMaps: it labels each, and does something before one is deleted."""

from __future__ import annotations

from typing import Any

import kopf


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = True
    settings.watching.server_timeout = 20


@kopf.on.create("configmaps", labels={"greet": "please"})
@kopf.on.update("configmaps", labels={"greet": "please"})
def greet(patch: kopf.Patch, body: kopf.Body, **_: Any) -> str:
    patch.metadata.labels["greeting"] = body["data"]["text"]
    kopf.info(body, reason="Greeted", message="a label was set")
    return "done"


@kopf.on.delete("configmaps", labels={"greet": "please"})
def farewell(name: str, **_: Any) -> None:
    print(f"farewell, {name}", flush=True)
