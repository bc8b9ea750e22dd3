"""Problems point at the line of the field, in YAML and in JSON, in documents and in lists."""

from __future__ import annotations

import json

import pytest

from kproxy.api import decode_texts
from kproxy.api.typed_kinds import KINDS
from tests.api.objects import DEPLOYMENT, NODE, SERVICE, edited, stored

CHART = """\
---
# Source: chart/templates/service.yaml
apiVersion: v1
kind: Service
metadata:
  name: myapp
spec:
  ports:
    - name: http
      port: 80
    - name: https
      port: 443
      targetPort: [8443]
---
# Source: chart/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: myapp
  namespace: shop
spec:
  selector:
    matchLabels: {app: myapp}
  template:
    metadata:
      labels:
        app: myapp
    spec:
      containers:
        - name: myapp
          image: myapp
          ports:
            - containerPort: 80

            - containerPort: "http"
---
a: b: c
---
apiVersion: v1
kind: List
items:
  - kind: Node
    apiVersion: v1
    metadata: {name: a}

  - kind: Node
    apiVersion: v1
    metadata:
      name: B
  - 3
"""
PORTS = "spec.template.spec.containers[0].ports"
FOUND = [
    "13: Service myapp: spec.ports[1].targetPort: expected an integer or a string, got a list",
    f"35: Deployment shop/myapp: {PORTS}[1].containerPort: expected an integer, got 'http'",
    "37: mapping values are not allowed in this context",
    "49: Node B: metadata.name: ",
    "50: items[2]: expected an object, got 3",
]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_chart(newline: str) -> None:
    problems = stored(CHART.replace("\n", newline), "chart/all.yaml").problems
    for problem, said in zip(problems, FOUND, strict=True):
        assert problem.startswith(f"chart/all.yaml:{said}")


LINES = [  # what is wrong -> the line
    ("spec: {ports: [{port: 0}]}", 4),
    ("spec:\n  ports:\n  - port: 0", 6),
    ("spec:\n  ports:\n  - name: a\n    port: 80\n  -\n    name: b\n    port: 0", 10),
    ("spec:\n  ports:\n  - name: a", 6),  # `port` is missing: the line of what lacks it
    ("spec: []", 4),
    ("spec:\n  'ports':\n  - {name: a,\n     port: 0}", 7),
    ("x: &port {port: 0}\nspec:\n  ports:\n  - *port", 7),  # where the alias is used
    ("spec:\n  ports: [{port: 80}]\n  externalIPs:\n  # why\n  - '?'", 8),
    ("spec:\n  ports: [{port: 80}]\n  selector:\n    app: 1", 7),
]


@pytest.mark.parametrize(("spec", "line"), LINES)
def test_the_line_of_a_field(spec: str, line: int) -> None:
    text = f"apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\n{spec}\n"
    found = stored(text, "f").problems
    (problem,) = found
    assert problem.startswith(f"f:{line}: Service web: spec")


@pytest.mark.parametrize("indent", [1, 4, "\t"])
def test_json_has_lines_too(indent: int | str) -> None:
    manifests = [SERVICE, edited(NODE, "metadata.name", "B"), edited(DEPLOYMENT, "spec", 3), {}]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}, indent=indent)
    lines = text.split("\n")
    problems = stored(text, "f.json").problems
    assert [each.replace("f.json", "f") for each in problems] == [*stored(text, "f").problems]
    node, deployment, unknown = problems
    assert node.startswith(f"f.json:{lines.index(_within(lines, 'B')) + 1}: Node B: metadata.name")
    assert deployment.startswith("f.json:")
    assert '"spec": 3' in lines[int(deployment.split(":")[1]) - 1]
    assert unknown.endswith(": items[3]: kind: missing")
    assert lines[int(unknown.split(":")[1]) - 1].strip() == "{}"


def _within(lines: list[str], name: str) -> str:
    return next(line for line in lines if f'"name": "{name}"' in line)


def test_a_conflict_names_both_lines() -> None:
    """In a list of JSON as well, whose objects are not looked at one by one."""
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": [NODE, SERVICE]}, indent=1)
    alone = "\n\n" + json.dumps(edited(SERVICE, "metadata.namespace", "other"), indent=1)
    problems = decode_texts({"a.json": listed, "b.json": alone}, KINDS).problems
    begins = listed.split("\n").index("  },") + 2
    assert len(problems) == 5  # two node ports, the health check node port, two cluster IPs
    for problem in problems:
        place, _, rest = problem.partition(": ")
        file, line = place.split(":")
        assert file == "b.json"
        assert any(each in alone.split("\n")[int(line) - 1] for each in ("odePort", "10.", "fd00"))
        assert rest.startswith("Service other/web: spec.")
        assert problem.endswith(f" of Service shop/web already, at a.json:{begins}")


def test_notices_name_the_line_of_the_object() -> None:
    text = "---\n# a chart\n---\nkind: ReplicaSet\napiVersion: apps/v1\n"
    assert stored(text, "f").notices == (
        "f:4: kind ReplicaSet is not used by a service proxy; skipped",
    )
