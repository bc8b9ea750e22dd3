"""The wheel contains what package indexes and `pip show` tell of kproxy."""

from __future__ import annotations

import json

from netns_tests.installed.environment import ROOT, Environment

SHOW = """
import json
from importlib.metadata import distribution
found = distribution("kproxy")
licences = [each.read_text() for each in found.files if each.name == "LICENSE"]
print(json.dumps([found.metadata.json, licences]))
"""


def test_readme_licence_and_links(environment: Environment) -> None:
    done = environment.run("python", "-c", SHOW)
    metadata, licences = json.loads(done.stdout)
    assert metadata["description"] == (ROOT / "README.md").read_text()
    assert metadata["description_content_type"] == "text/markdown"
    assert metadata["license_expression"] == "Apache-2.0"
    assert licences == [(ROOT / "LICENSE").read_text()]
    assert len(metadata["project_url"]) == 3
    assert all(", https://" in each for each in metadata["project_url"])
