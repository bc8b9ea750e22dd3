"""The warnings of the API server about Pods and templates of Pods, in its words and order.

Source: pkg/api/pod/warnings.go, pkg/apis/core/pods/helpers.go and pkg/api/node/util.go of
Kubernetes v1.36
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kproxy.api.go import quoted
from kproxy.api.names import MAX_LABEL
from kproxy.api.pod_parts import NodeSelectorTerm, Quantity, VolumeProjection
from kproxy.api.quantities import fraction_of
from kproxy.api.types import Container, ContainerPort, Metadata, PodSpec
from kproxy.controlplane.address_warnings import ip_list_warnings, ip_warnings
from kproxy.controlplane.value_problems import label_value_problems

_INSTEAD = 'use the "{}" field instead'
_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        f"non-functional in v1.16+; {_INSTEAD.format('priorityClassName')}"
    ),
    **dict.fromkeys(
        ("security.alpha.kubernetes.io/sysctls", "security.alpha.kubernetes.io/unsafe-sysctls"),
        f"non-functional in v1.11+; {_INSTEAD.format('sysctls')}",
    ),
}
_SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_OF = "container.seccomp.security.alpha.kubernetes.io/"  # and the container's name
_APP_ARMOR_OF = "container.apparmor.security.beta.kubernetes.io/"
_NO_SECCOMP = f"non-functional in v1.27+; {_INSTEAD.format('seccompProfile')}"
_NO_APP_ARMOR = f"deprecated since v1.30; {_INSTEAD.format('appArmorProfile')}"
_NODE_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": (
        'deprecated since v1.17; use "topology.kubernetes.io/region" instead'
    ),
    "failure-domain.beta.kubernetes.io/zone": (
        'deprecated since v1.17; use "topology.kubernetes.io/zone" instead'
    ),
    "beta.kubernetes.io/instance-type": (
        'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead'
    ),
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": (
        "deprecated since v1.22; use Taints and Tolerations instead"
    ),
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}
_VOLUMES = (  # attribute, field, what became of it
    ("photon_persistent_disk", "photonPersistentDisk", "v1.11, non-functional in v1.16+"),
    ("git_repo", "gitRepo", "v1.11"),
    ("scale_io", "scaleIO", "v1.16, non-functional in v1.22+"),
    ("flocker", "flocker", "v1.22, non-functional in v1.25+"),
    ("storageos", "storageOS", "v1.22, non-functional in v1.25+"),
    ("quobyte", "quobyte", "v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "v1.25, non-functional in v1.26+"),
    ("cephfs", "cephfs", "v1.28, non-functional in v1.31+"),
    ("rbd", "rbd", "v1.28, non-functional in v1.31+"),
)
_IN_BYTES = ("memory", "ephemeral-storage")
_NO_SELECTOR = "a null labelSelector results in matching no pod"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def name_warnings(name: str, used: str) -> Iterator[str]:
    """Yield the warning about a valid name that is no DNS label; `used`: where DNS needs one."""
    faults = [f"must be no more than {MAX_LABEL} characters"] if len(name) > MAX_LABEL else []
    if "." in name:
        faults.append("must not contain dots")
    if faults:
        told = "which can result in surprising behavior; a DNS label is recommended"
        yield f"metadata.name: this is used in {used}, {told}: [{' '.join(faults)}]"


def template_warnings(path: str, metadata: Metadata, spec: PodSpec) -> Iterator[str]:
    """Yield the warnings about a Pod; `path` is "", or that of a template with a dot behind it."""
    notes, place = metadata.annotations, f"{path}metadata.annotations"
    own = f"{path}spec"
    yield from _placement(own, spec)
    yield from (f"{place}[{key}]: {told}" for key, told in _ANNOTATIONS.items() if key in notes)
    yield from _volumes(own, spec)
    yield from _named_twice(own, spec)
    yield from _fractions(f"{own}.overhead", spec.overhead)
    if spec.security_context.seccomp_profile is None and _SECCOMP in notes:
        yield f"{place}[{_SECCOMP}]: {_NO_SECCOMP}"
    containers = [*_containers(own, spec)]
    confined = spec.security_context.app_armor_profile is not None
    for field, container in containers:
        security, seccomp = container.security_context, _SECCOMP_OF + container.name
        app_armor = _APP_ARMOR_OF + container.name
        if security.seccomp_profile is None and seccomp in notes:
            yield f"{place}[{seccomp}]: {_NO_SECCOMP}"
        if not confined and security.app_armor_profile is None and app_armor in notes:
            yield f"{place}[{app_armor}]: {_NO_APP_ARMOR}"
        yield from _resources(field, container)
        yield from _environment(field, container)
    yield from _ports(containers)
    yield from _port_names(own, spec)
    if spec.termination_grace_period_seconds < 0:
        told = "must be >= 0; negative values are invalid and will be treated as 1"
        yield f"{own}.terminationGracePeriodSeconds: {told}"
    yield from _pod_affinity(own, spec)
    if spec.dns_config:
        yield from ip_list_warnings(f"{own}.dnsConfig.nameservers", spec.dns_config.nameservers)
    for i, alias in enumerate(spec.host_aliases):
        yield from ip_warnings(f"{own}.hostAliases[{i}].ip", alias.ip)


def _containers(path: str, spec: PodSpec) -> Iterator[tuple[str, Container]]:
    """Yield all containers with their fields, in the order in which the server visits them."""
    for field, containers in (
        ("initContainers", spec.init_containers),
        ("containers", spec.containers),
    ):
        yield from ((f"{path}.{field}[{i}]", each) for i, each in enumerate(containers))


# --- where it runs -------------------------------------------------------------------------------


def _placement(path: str, spec: PodSpec) -> Iterator[str]:
    for key in spec.node_selector:
        if key in _NODE_LABELS:
            yield f"{path}.nodeSelector[{key}]: {_NODE_LABELS[key]}"
    if spec.affinity and (nodes := spec.affinity.node_affinity):
        field = f"{path}.affinity.nodeAffinity"
        for i, term in enumerate(nodes.required.node_selector_terms if nodes.required else ()):
            place = f"{field}.{_REQUIRED}.nodeSelectorTerms[{i}]"
            yield from _node_term(place, term, judge_values=False)
        for i, preferred in enumerate(nodes.preferred):
            place = f"{field}.{_PREFERRED}[{i}].preference"
            yield from _node_term(place, preferred.preference, judge_values=True)
    for i, each in enumerate(spec.topology_spread_constraints):
        field, key = f"{path}.topologySpreadConstraints[{i}]", each.topology_key
        if key in _NODE_LABELS:
            yield f"{field}.topologyKey: {key} is {_NODE_LABELS[key]}"
        if each.label_selector is None:
            yield f"{field}.labelSelector: {_NO_SELECTOR}"


def _node_term(path: str, term: NodeSelectorTerm, *, judge_values: bool) -> Iterator[str]:
    """Yield the warnings about a term; values are judged where they are not refused."""
    for i, each in enumerate(term.match_expressions):
        field = f"{path}.matchExpressions[{i}]"
        if each.key in _NODE_LABELS:
            yield f"{field}.key: {each.key} is {_NODE_LABELS[each.key]}"
        for j, value in enumerate(each.values if judge_values else ()):
            for told in label_value_problems(value):
                yield f"{field}.values[{j}]: {value} is invalid, {told}"


def _pod_affinity(path: str, spec: PodSpec) -> Iterator[str]:
    if not spec.affinity:
        return
    for name, affinity in (
        ("podAffinity", spec.affinity.pod_affinity),
        ("podAntiAffinity", spec.affinity.pod_anti_affinity),
    ):
        if affinity is None:
            continue
        field = f"{path}.affinity.{name}"
        for i, term in enumerate(affinity.required):
            if term.label_selector is None:
                yield f"{field}.{_REQUIRED}[{i}].labelSelector: {_NO_SELECTOR}"
        for i, weighted in enumerate(affinity.preferred):
            if weighted.pod_affinity_term.label_selector is None:
                place = f"{field}.{_PREFERRED}[{i}].podAffinityTerm.labelSelector"
                yield f"{place}: {_NO_SELECTOR}"


# --- what it has ---------------------------------------------------------------------------------


def _volumes(path: str, spec: PodSpec) -> Iterator[str]:
    tokens = set[str]()
    for i, volume in enumerate(spec.volumes):
        for attribute, field, since in _VOLUMES:
            if getattr(volume, attribute) is not None:
                yield f"{path}.volumes[{i}].{field}: deprecated in {since}"
        for source in volume.projected.sources if volume.projected else ():
            if source.service_account_token:
                tokens.add(source.service_account_token.path)
    for i, volume in enumerate(spec.volumes):
        for source in volume.projected.sources if volume.projected else ():
            for field, found in _files(source):
                if found in tokens:
                    told = f"has duplicated path with ServiceAccountToken {quoted(found)}"
                    yield f"{path}.volumes[{i}].projected.sources.{field}: {told}"


def _files(source: VolumeProjection) -> Iterator[tuple[str, str]]:
    """Yield the files of a source that could hide a token, with their fields as the server says."""
    for name, found in (
        ("configMap", source.config_map),
        ("secrets", source.secret),
        ("downwardAPI", source.downward_api),
    ):
        for i, item in enumerate(found.items if found else ()):
            yield f"{name}[{i}]", item.path
    if source.cluster_trust_bundle:
        yield "ClusterTrustBundle", source.cluster_trust_bundle.path


def _named_twice(path: str, spec: PodSpec) -> Iterator[str]:
    addresses = [each.ip for each in spec.host_aliases]
    for i, ip in enumerate(addresses):
        if ip in addresses[:i]:
            yield f"{path}.hostAliases[{i}].ip: duplicate ip {quoted(ip)}"
    names = [each.name for each in spec.image_pull_secrets]
    for i, name in enumerate(names):
        if name in names[:i]:
            yield f"{path}.imagePullSecrets[{i}].name: duplicate name {quoted(name)}"
    for i, name in enumerate(names):
        if not name:
            yield f'{path}.imagePullSecrets[{i}].name: invalid empty name ""'


def _fractions(field: str, amounts: Mapping[str, Quantity]) -> Iterator[str]:
    for resource in _IN_BYTES:
        if resource in amounts and (found := fraction_of(amounts[resource])):
            told = f'fractional byte value "{found}" is invalid, must be an integer'
            yield f"{field}[{resource}]: {told}"


def _resources(field: str, container: Container) -> Iterator[str]:
    limits, requests = container.resources.limits, container.resources.requests
    for resource in _IN_BYTES:
        for name, amounts in (("limits", limits), ("requests", requests)):
            if resource in amounts:
                yield from _fractions(f"{field}.resources.{name}", {resource: amounts[resource]})


def _environment(field: str, container: Container) -> Iterator[str]:
    seen = set[str]()
    for i, each in enumerate(container.env):
        reference = f"$({each.name})"  # with it the value builds on the previous one
        if each.name not in seen:
            seen.add(each.name)
        elif each.value_from or each.value == reference or reference not in each.value:
            told = "which may be dropped when using apply"
            yield f"{field}.env[{i}]: hides previous definition of {quoted(each.name)}, {told}"


# --- ports ---------------------------------------------------------------------------------------


def _ports(containers: list[tuple[str, Container]]) -> Iterator[str]:
    seen: dict[tuple[int, str], list[tuple[str, ContainerPort]]] = {}
    for owner, container in containers:
        for j, port in enumerate(container.ports):
            field = f"{owner}.ports[{j}]"
            if port.host_ip and not port.host_port:
                yield f"{field}: hostIP set without hostPort: {_struct(port)}"
            others = seen.setdefault((port.container_port, port.protocol), [])
            for other_field, other in others:
                if kind := _conflict(port, other):
                    yield f"{field}: {kind} port definition with {other_field}"
            others.append((field, port))


def _port_names(path: str, spec: PodSpec) -> Iterator[str]:
    """Yield the warnings about equal names; of init containers, only sidecars count."""
    first: dict[str, str] = {}
    for owner, container in _containers(path, spec):
        if owner.startswith(f"{path}.initContainers[") and container.restart_policy != "Always":
            continue
        for j, port in enumerate(container.ports):
            field = f"{owner}.ports[{j}]"
            if port.name and (other := first.setdefault(port.name, field)) != field:
                told = f"duplicate port name {quoted(port.name)} with {other}"
                use = f"services and probes that select ports by name will use {other}"
                yield f"{field}: {told}, {use}"


def _conflict(port: ContainerPort, other: ContainerPort) -> str:
    """Return how two definitions of one port disturb each other; "" if they do not."""
    if (port.host_ip, port.host_port) == (other.host_ip, other.host_port):
        return "duplicate"
    if not port.host_port or not other.host_port:
        return "overlapping"
    if port.host_port == other.host_port and bool(port.host_ip) != bool(other.host_ip):
        return "dangerously ambiguous"
    return ""


def _struct(port: ContainerPort) -> str:
    """Return the port as Go prints the API server's struct."""
    return (
        f"{{Name:{port.name} HostPort:{port.host_port} ContainerPort:{port.container_port}"
        f" Protocol:{port.protocol} HostIP:{port.host_ip}}}"
    )
