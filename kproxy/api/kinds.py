"""The kinds that Kubernetes itself has, to tell a misspelled one from one that has no meaning here;
and those that control planes have and kproxy has no types for.

Source: https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.36/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

_TEXT = """
Binding ComponentStatus ConfigMap Endpoints Event LimitRange List Namespace Node PersistentVolume
PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service
ServiceAccount
ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet
CronJob Job HorizontalPodAutoscaler PodDisruptionBudget Eviction Scale
EndpointSlice IngressClass Ingress IPAddress NetworkPolicy ServiceCIDR
APIService CustomResourceDefinition Lease LeaseCandidate
ClusterRole ClusterRoleBinding Role RoleBinding
MutatingAdmissionPolicy MutatingAdmissionPolicyBinding MutatingWebhookConfiguration
ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration
CertificateSigningRequest ClusterTrustBundle PodCertificateRequest
LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectReview SelfSubjectRulesReview
SubjectAccessReview TokenRequest TokenReview
FlowSchema PriorityLevelConfiguration PriorityClass RuntimeClass
CSIDriver CSINode CSIStorageCapacity StorageClass StorageVersionMigration VolumeAttachment
VolumeAttributesClass StorageVersion
DeviceClass DeviceTaintRule ResourceClaim ResourceClaimTemplate ResourceSlice
NodeMetrics PodMetrics PodSecurityPolicy
VolumeSnapshot VolumeSnapshotClass VolumeSnapshotContent
Gateway GatewayClass HTTPRoute GRPCRoute TCPRoute TLSRoute UDPRoute ReferenceGrant
BackendTLSPolicy
"""
DOCUMENT_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("Namespace", "ConfigMap", "Secret", "ServiceAccount", "Event"), "v1"),
    **dict.fromkeys(("ReplicaSet", "StatefulSet", "DaemonSet", "ControllerRevision"), "apps/v1"),
    **dict.fromkeys(("IngressClass", "NetworkPolicy"), "networking.k8s.io/v1"),
    "Lease": "coordination.k8s.io/v1",
}
"""Kinds that control planes take as whole documents, as there is no type for them: versions."""
_NAMES = _TEXT.split()
# By what they are compared with: capital letters are often wrong. Later ones win: few have lists.
_KNOWN = {f"{name}List".lower(): f"{name}List" for name in _NAMES} | {
    name.lower(): name for name in _NAMES
}
_SIMILAR = 0.8  # `Servce`, `Endpoint`, `Deploymnet`; not `Servant`


def misspelled(kind: str, api_version: Any) -> str:
    """Return the kind of Kubernetes that was meant by an unknown one; "" if there is none.

    Kinds of other API groups may have any name.
    """
    return _meant(kind) if _is_own(api_version) else ""


def is_of_others(api_version: Any, expected: str) -> bool:
    """Tell whether a kind belongs to the API group of another maker, such as the Service of
    `serving.knative.dev/v1`, and not to a misspelled one of Kubernetes.
    """
    if _is_own(api_version):
        return False
    group, ours = (each.rpartition("/")[0] for each in (str(api_version), expected))
    return not ours or not _close(group, [ours])


@lru_cache(maxsize=1024)
def _meant(kind: str) -> str:
    if kind in _KNOWN.values():
        return ""
    near = _close(kind.lower(), _KNOWN)
    return _KNOWN[near[0]] if near else ""


def _close(word: str, known: Iterable[str]) -> list[str]:
    import difflib  # for what is wrong only

    return difflib.get_close_matches(word, [*known], 1, _SIMILAR)


def _is_own(api_version: Any) -> bool:
    """Tell whether the API group is one of Kubernetes: `v1`, `apps/v1`, `discovery.k8s.io/v1`."""
    group, slash, _ = api_version.partition("/") if isinstance(api_version, str) else ("", "", "")
    return not slash or "." not in group or group.endswith(".k8s.io")
