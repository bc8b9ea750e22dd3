"""One lab for all tests of a process, and each kubectl in a namespace of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns_tests.kubectl.clients import KUBECTLS, Kubectl, lab
from netns_tests.kubectl.manifests import FILES


@pytest.fixture(scope="package")
def kubeconfig() -> Iterator[str]:
    with lab() as text:
        yield text


@pytest.fixture(params=KUBECTLS)
def kubectl(request: pytest.FixtureRequest, kubeconfig: str, tmp_path: Path) -> Kubectl:
    """Return a kubectl whose namespace is new; its working directory has the manifests."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    namespace = re.sub(r"[^a-z]+", "-", request.node.name).strip("-")
    found = Kubectl(KUBECTLS[str(request.param)], kubeconfig, tmp_path, namespace)
    found.ok(f"create namespace {namespace}")
    return found
