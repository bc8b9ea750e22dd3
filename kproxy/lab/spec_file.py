"""The file form of a `LabSpec`.

    name: shop
    nodes:
    - name: node-a
      zone: east
      config: {iptables: {masqueradeAll: true}}     # KubeProxyConfiguration fields
      pods:
      - name: web-1
        labels: {app: web}
        ports: [8080, {port: 5353, protocol: UDP, name: dns}]
    clients:
    - name: outside
      addresses: [198.51.100.7]
    routes: {203.0.113.0/24: node-a}

    network: vpc                        # a name of kproxy.lab.models; routed if it is not there
    profile: cce                        # a name of kproxy.lab.profiles; upstream
    edge:
      balancers: [{name: lb, kind: shared}, {name: elb, kind: dedicated}]
    emulate: "1.36"                     # the kube-proxy to behave like; that of the configuration
    controlPlane: true
    upstream: {www.example.com: [198.51.100.7]} # names outside, for the cluster's DNS

Besides these: `families` ([IPv4, IPv6]), `nodeCIDRs`, `podCIDRs`, `serviceCIDRs`, `clientCIDRs`;
`loadBalancerCIDRs` and `nodePortRange` (30000-32767) of the control plane; `publicCIDRs` and
`balancerCIDRs` of the edge; a pod's `namespace`, `hostNetwork: true`, and `runs: nginx` for an
ingress. Only `nodes` is required.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from kproxy.address import Family
from kproxy.api.places import located
from kproxy.api.problems import Problem
from kproxy.api.structure import by_value
from kproxy.errors import BadInput
from kproxy.lab.spec import (
    BalancerSpec,
    ClientSpec,
    EdgeSpec,
    LabSpec,
    NodeSpec,
    PodSpec,
    PortSpec,
)
from kproxy.versions import Version, parse_version

_T = TypeVar("_T")
_FAMILIES = {family.value: family for family in Family}


def load_spec(path: str | Path) -> LabSpec:
    """Return the checked spec of a YAML file. Raises BadInput with all problems at once."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BadInput([f"{path}: {reason}"]) from None
    return parse_spec(text, str(path))


def parse_spec(text: str, where: str) -> LabSpec:
    """Return the checked spec of a text, as `load_spec`; `where` precedes each problem."""
    # Most labs are described in Python.
    from kproxy.api.yaml_documents import documents
    from kproxy.lab import validation

    read = [*documents(text)]
    document = read[0].value if read else None
    faults = [fault for each in read for fault in (*each.problems, *each.repeated)]
    if faults:
        raise BadInput([fault.at(where) for fault in faults])
    if isinstance(document, dict) and "apiVersion" in document:
        told = f"{where}: this is a manifest of Kubernetes, not the description of a lab"
        raise BadInput([told], remedy=f"kproxy up, then kproxy apply -f {where}")
    reader = _Reader()
    spec = reader.lab(document)
    problems = [*reader.problems, *(validation.problems(spec) if not reader.problems else ())]
    if problems:
        # Each begins with the path of a field.
        parts = (problem.partition(": ") for problem in problems)
        found = located((Problem(field, told) for field, _, told in parts), text)
        raise BadInput([problem.at(where) for problem in found])
    return spec


class _Reader:
    """A converter of plain values to spec values. It omits a value of the wrong shape, and reports
    it in `problems`.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []

    def lab(self, value: object) -> LabSpec:
        fields = self._fields(
            "",
            value,
            {
                "name": self._text,
                "nodes": self._each(self._node),
                "clients": self._each(self._client),
                "families": self._each(self._family),
                "routes": self._texts,
                "nodeCIDRs": self._each(self._text),
                "podCIDRs": self._each(self._text),
                "serviceCIDRs": self._each(self._text),
                "clientCIDRs": self._each(self._text),
                "network": self._text,
                "profile": self._text,
                "edge": self._edge,
                "emulate": self._version,
                "controlPlane": self._truth,
                "loadBalancerCIDRs": self._each(self._text),
                "nodePortRange": self._range,
                "upstream": self._lists,
            },
            required=("nodes",),
        )
        return LabSpec(**({"nodes": ()} | _snake_case(fields)))

    def _edge(self, place: str, value: object) -> EdgeSpec:
        readers: dict[str, Callable[[str, object], Any]] = {
            "balancers": self._each(self._balancer),
            "publicCIDRs": self._each(self._text),
            "balancerCIDRs": self._each(self._text),
        }
        return EdgeSpec(**_snake_case(self._fields(place, value, readers, required=())))

    def _balancer(self, place: str, value: object) -> BalancerSpec:
        readers: dict[str, Callable[[str, object], Any]] = {"name": self._text, "kind": self._text}
        fields = self._fields(place, value, readers, required=("name",))
        return BalancerSpec(**({"name": ""} | fields))

    def _node(self, place: str, value: object) -> NodeSpec:
        readers: dict[str, Callable[[str, object], Any]] = {
            "name": self._text,
            "zone": self._text,
            "pods": self._each(self._pod),
            "config": self._mapping,
        }
        fields = self._fields(place, value, readers, required=("name",))
        return NodeSpec(**({"name": ""} | fields))

    def _pod(self, place: str, value: object) -> PodSpec:
        readers: dict[str, Callable[[str, object], Any]] = {
            "name": self._text,
            "labels": self._texts,
            "ports": self._each(self._port),
            "namespace": self._text,
            "hostNetwork": self._truth,
            "runs": self._text,
        }
        fields = self._fields(place, value, readers, required=("name",))
        return PodSpec(**({"name": ""} | _snake_case(fields)))

    def _port(self, place: str, value: object) -> PortSpec:
        """Return a port; a number stands for a TCP port."""
        if isinstance(value, int | float):
            return PortSpec(port=self._number(place, value))
        readers: dict[str, Callable[[str, object], Any]] = {
            "port": self._number,
            "protocol": self._text,
            "name": self._text,
        }
        fields = self._fields(place, value, readers, required=("port",))
        return PortSpec(**({"port": 0} | fields))

    def _client(self, place: str, value: object) -> ClientSpec:
        readers: dict[str, Callable[[str, object], Any]] = {
            "name": self._text,
            "addresses": self._each(self._text),
        }
        fields = self._fields(place, value, readers, required=("name",))
        return ClientSpec(**({"name": ""} | fields))

    def _family(self, place: str, value: object) -> Family:
        text = self._text(place, value)
        if text not in _FAMILIES:
            self.problems.append(f"{place}: {text!r} is none of {', '.join(_FAMILIES)}")
        return _FAMILIES.get(text, Family.IPV4)

    def _version(self, place: str, value: object) -> Version | None:
        if value is None:
            return None
        try:
            return parse_version(str(value))
        except ValueError as error:
            self.problems.append(f"{place}: {error}")
            return None

    def _fields(
        self,
        place: str,
        value: object,
        readers: Mapping[str, Callable[[str, object], Any]],
        *,
        required: tuple[str, ...],
    ) -> dict[str, Any]:
        mapping = self._mapping(place, value)
        prefix = f"{place}." if place else ""
        for key in mapping:
            if key not in readers:
                self.problems.append(f"{prefix}{key}: unknown; known are {', '.join(readers)}")
        if isinstance(value, Mapping):
            self.problems += [f"{prefix}{key}: missing" for key in required if key not in mapping]
        return {
            key: reader(f"{prefix}{key}", mapping[key])
            for key, reader in readers.items()
            if key in mapping
        }

    def _each(self, reader: Callable[[str, object], _T]) -> Callable[[str, object], tuple[_T, ...]]:
        def read(place: str, value: object) -> tuple[_T, ...]:
            if not isinstance(value, list):
                self.problems.append(f"{place}: expected a list, got {value!r}")
                return ()
            return tuple(reader(f"{place}[{number}]", item) for number, item in enumerate(value))

        return read

    def _mapping(self, place: str, value: object) -> Mapping[str, object]:
        if isinstance(value, Mapping):
            return {str(key): item for key, item in value.items()}
        self.problems.append(f"{place or 'the file'}: expected a mapping, got {value!r}")
        return {}

    def _range(self, place: str, value: object) -> tuple[int, int]:
        first, _, last = value.partition("-") if isinstance(value, str) else ("", "", "")
        if first.isascii() and first.isdecimal() and last.isascii() and last.isdecimal():
            return int(first), int(last)
        self.problems.append(f"{place}: expected a range such as 30000-32767, got {value!r}")
        return 0, 0

    def _lists(self, place: str, value: object) -> dict[str, tuple[str, ...]]:
        read = self._each(self._text)
        return {
            key: read(f"{place}[{key}]", item) for key, item in self._mapping(place, value).items()
        }

    def _texts(self, place: str, value: object) -> dict[str, str]:
        return dict(self._text_items(place, self._mapping(place, value)))

    def _text_items(self, place: str, mapping: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        for key, item in mapping.items():
            yield key, self._text(f"{place}[{key}]", item)

    def _text(self, place: str, value: object) -> str:
        if isinstance(value, str):
            return value
        self.problems.append(f"{place}: expected text, got {value!r}")
        return ""

    def _truth(self, place: str, value: object) -> bool:
        if isinstance(value, bool):
            return value
        self.problems.append(f"{place}: expected true or false, got {value!r}")
        return False

    def _number(self, place: str, value: object) -> int:
        if isinstance(number := by_value(value, (int,)), int) and not isinstance(number, bool):
            return number
        self.problems.append(f"{place}: expected a number, got {value!r}")
        return 0


def _snake_case(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {_snake(key): value for key, value in fields.items()}


def _snake(key: str) -> str:
    """Convert `hostNetwork` to `host_network`, `loadBalancerCIDRs` to `load_balancer_cidrs`."""
    return re.sub(r"(?<=[a-z])[A-Z]", r"_\g<0>", key.replace("CIDRs", "Cidrs")).lower()
