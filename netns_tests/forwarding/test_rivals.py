"""The first by name of Services that claim one address and port answers, in every mode."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from kproxy.address import Family
from kproxy.testing import LabFactory, delivered
from netns_tests.modes import MODES, USERSPACE, Mode

SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  clusterIP: 10.96.0.{number}
  clusterIPs: [10.96.0.{number}]
  ipFamilies: [IPv4]
  externalIPs: [{external}]
  ports: [{{port: 80, protocol: TCP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
endpoints: [{{addresses: [{address}]}}]
ports: [{{port: 8080, protocol: TCP}}]
---
"""
NAMES = ("a", "b", "c")
CONTESTED = "192.0.2.7"


@pytest.mark.parametrize("mode", [*MODES, USERSPACE], ids=str)
def test_the_first_by_name_answers(mode: Mode, tmp_path: Path) -> None:
    """However they came: at once in any order, one by one, by an edit; and when one is gone."""
    with LabFactory() as factory:
        lab = factory(
            nodes=("node-a", "node-b"),
            pods=dict.fromkeys(NAMES, "node-b"),
            mode=mode.name,
            options=mode.options,
        )

        def applied(*names: str, external: str = CONTESTED) -> str:
            manifest = tmp_path / "services.yaml"
            manifest.write_text(
                "".join(
                    SERVICE.format(
                        name=name,
                        number=NAMES.index(name) + 10,
                        address=lab.pods[name].addresses[Family.IPV4],
                        external=external,
                    )
                    for name in names
                )
            )
            return str(manifest)

        def answers() -> object:
            return lab.ask("node-a", CONTESTED, 80)

        for order in permutations(NAMES):
            lab.replace(applied(*order))
            assert answers() == delivered("a")
            lab.replace([])
            for number, name in enumerate(order, 1):
                lab.apply(applied(name))
                assert answers() == delivered(min(order[:number]))
        lab.apply(applied("a", external="192.0.2.8"))
        assert answers() == delivered("b")
        lab.apply(applied("a"))
        assert answers() == delivered("a")
        lab.delete([("Service", "default", "a")])
        assert answers() == delivered("b")
