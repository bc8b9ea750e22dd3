"""`kproxy apply` tells what became of an object, whoever else writes to it at that moment."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kproxy.cli import verbs
from tests.cli.kinds import DEPLOYMENTS

MANIFEST: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {"replicas": 3},
}


class BusyApi:
    """An API whose controllers write to an object between any two requests about it."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.stored = {**copy.deepcopy(MANIFEST), "spec": spec}
        self.version = 10

    def ask(self, method: str, _path: str, **how: Any) -> dict[str, Any]:
        if method == "PATCH":
            self.stored["spec"] = how["body"]["spec"]
        self.version += 1
        self.stored["metadata"] |= {
            "resourceVersion": str(self.version),
            "managedFields": [{"manager": "controller", "time": str(self.version)}],
            "annotations": {"deployment.kubernetes.io/revision": str(self.version)},
        }
        self.stored["status"] = {"readyReplicas": self.version}
        return copy.deepcopy(self.stored)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("replicas", "told"), [(3, "unchanged"), (2, "configured")])
def test_what_controllers_write_meanwhile_is_no_change_by_apply(
    replicas: int, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    api = BusyApi({"replicas": replicas})
    monkeypatch.setattr(verbs, "access_of", lambda _lab: None)
    monkeypatch.setattr(verbs, "client_of", lambda _access: api)
    monkeypatch.setattr(verbs, "kinds_of", lambda _client: [DEPLOYMENTS])
    (tmp_path / "web.json").write_text(json.dumps(MANIFEST))
    done = CliRunner().invoke(verbs.apply, ["-f", str(tmp_path / "web.json")])
    assert done.output == f"deployment.apps/web {told}\n"
