"""The resources that the API serves: names, verbs, subresources, and what selectors may name."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

READ = ("get", "list", "watch")
ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
METADATA_FIELDS = ("metadata.name", "metadata.namespace")


class Subresource(Struct, frozen=True):
    """A part of an object with a path of its own; `kind` is that of its answers."""

    name: str
    verbs: tuple[str, ...] = ("get", "patch", "update")
    kind: str = ""  # that of the resource itself
    group: str = ""
    version: str = ""


class Resource(Struct, frozen=True, kw_only=True):
    """A kind in one group version.

    `fields` are those of a field selector besides metadata.name and metadata.namespace; the server
    words its refusal of others differently if a kind has some of its own (`own_fields`). `absent`
    says why there is never any object of a kind; "" if there may be.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()
    fields: tuple[str, ...] = ()
    own_fields: bool = False
    absent: str = ""

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """Name as messages have it: `services`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def subresource(self, name: str) -> Subresource | None:
        return next((each for each in self.subresources if each.name == name), None)


STATUS = Subresource("status")
SCALE = Subresource("scale", kind="Scale", group="autoscaling", version="v1")
_STREAM = ("create", "get")
_POD_PARTS = (
    Subresource("attach", _STREAM, "PodAttachOptions"),
    Subresource("eviction", ("create",), "Eviction", "policy", "v1"),
    Subresource("exec", _STREAM, "PodExecOptions"),
    Subresource("log", ("get",)),
    Subresource("portforward", _STREAM, "PodPortForwardOptions"),
    STATUS,
)
_POD_FIELDS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
)
_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_EVENT_FIELDS = (
    *(f"involvedObject.{each}" for each in _REFERENCE),
    *("reason", "reportingComponent", "source", "type"),
)
_NEW_EVENT_FIELDS = (
    *(f"regarding.{each}" for each in _REFERENCE),
    *("reason", "reportingController", "type"),
)
_APPS = "apps/v1"
_NETWORKING = "networking.k8s.io/v1"


def _resource(
    group_version: str,
    kind: str,
    plural: str,
    short_names: tuple[str, ...] = (),
    *,
    namespaced: bool = True,
    categories: tuple[str, ...] = (),
    verbs: tuple[str, ...] = ALL_VERBS,
    subresources: tuple[Subresource, ...] = (),
    fields: tuple[str, ...] = (),
    own_fields: bool = False,
) -> Resource:
    group, _, version = group_version.rpartition("/")
    return Resource(
        group=group,
        version=version,
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=namespaced,
        short_names=short_names,
        categories=categories,
        verbs=verbs,
        subresources=subresources,
        fields=fields,
        own_fields=own_fields or bool(fields),
    )


def _absent(
    group_version: str,
    kind: str,
    plural: str,
    short_names: tuple[str, ...] = (),
    *,
    why: str,
    namespaced: bool = True,
    categories: tuple[str, ...] = (),
) -> Resource:
    """Return a resource that is listed, so that clients send one and are told why it is refused.

    They find none otherwise: kubectl asks for several before it prunes, and evicts Pods only if it
    finds the group `policy`.
    """
    resource = _resource(
        group_version,
        kind,
        plural,
        short_names,
        namespaced=namespaced,
        categories=categories,
        verbs=("create", *READ),
    )
    return replace(resource, absent=f"this cluster serves no {why}")


_NO_VOLUMES = "persistent volumes: its pods see the files of this machine"
_NO_JOBS = "jobs: the commands of a pod's containers run only while somebody is attached to it"
_NO_COLLECTION = tuple(verb for verb in ALL_VERBS if verb != "deletecollection")
RESOURCES = (
    _resource("v1", "ConfigMap", "configmaps", ("cm",)),
    _resource("v1", "Endpoints", "endpoints", ("ep",)),
    _resource("v1", "Event", "events", ("ev",), fields=_EVENT_FIELDS),
    _resource(
        "v1",
        "Namespace",
        "namespaces",
        ("ns",),
        namespaced=False,
        verbs=_NO_COLLECTION,
        subresources=(STATUS,),
        fields=("status.phase",),
    ),
    _resource(
        "v1",
        "Node",
        "nodes",
        ("no",),
        namespaced=False,
        subresources=(STATUS,),
        fields=("spec.unschedulable",),
    ),
    _resource(
        "v1",
        "Pod",
        "pods",
        ("po",),
        categories=("all",),
        subresources=_POD_PARTS,
        fields=_POD_FIELDS,
    ),
    _resource("v1", "Secret", "secrets", fields=("type",)),
    _resource(
        "v1",
        "Service",
        "services",
        ("svc",),
        categories=("all",),
        subresources=(STATUS,),
        fields=("spec.clusterIP", "spec.type"),
    ),
    _resource("v1", "ServiceAccount", "serviceaccounts", ("sa",)),
    _resource(_APPS, "ControllerRevision", "controllerrevisions"),
    _resource(
        _APPS,
        "DaemonSet",
        "daemonsets",
        ("ds",),
        categories=("all",),
        subresources=(STATUS,),
    ),
    _resource(
        _APPS,
        "Deployment",
        "deployments",
        ("deploy",),
        categories=("all",),
        subresources=(SCALE, STATUS),
    ),
    _resource(
        _APPS,
        "ReplicaSet",
        "replicasets",
        ("rs",),
        categories=("all",),
        subresources=(SCALE, STATUS),
        fields=("status.replicas",),
    ),
    _resource(
        _APPS,
        "StatefulSet",
        "statefulsets",
        ("sts",),
        categories=("all",),
        subresources=(SCALE, STATUS),
    ),
    _resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
    _resource("events.k8s.io/v1", "Event", "events", ("ev",), fields=_NEW_EVENT_FIELDS),
    _resource(_NETWORKING, "Ingress", "ingresses", ("ing",), subresources=(STATUS,)),
    _resource(_NETWORKING, "IngressClass", "ingressclasses", namespaced=False),
    _resource(_NETWORKING, "IPAddress", "ipaddresses", ("ip",), namespaced=False),
    _resource(_NETWORKING, "NetworkPolicy", "networkpolicies", ("netpol",)),
    _resource(
        _NETWORKING,
        "ServiceCIDR",
        "servicecidrs",
        namespaced=False,
        subresources=(STATUS,),
    ),
    _resource("coordination.k8s.io/v1", "Lease", "leases"),
    _resource(
        "authentication.k8s.io/v1",
        "SelfSubjectReview",
        "selfsubjectreviews",
        namespaced=False,
        verbs=("create",),
    ),
    _resource(
        "authentication.k8s.io/v1",
        "TokenReview",
        "tokenreviews",
        namespaced=False,
        verbs=("create",),
    ),
    _resource(
        "authorization.k8s.io/v1",
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        verbs=("create",),
    ),
    _resource(
        "authorization.k8s.io/v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        namespaced=False,
        verbs=("create",),
    ),
    _resource(
        "authorization.k8s.io/v1",
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        namespaced=False,
        verbs=("create",),
    ),
    _resource(
        "authorization.k8s.io/v1",
        "SubjectAccessReview",
        "subjectaccessreviews",
        namespaced=False,
        verbs=("create",),
    ),
    _absent(
        "v1", "PersistentVolume", "persistentvolumes", ("pv",), namespaced=False, why=_NO_VOLUMES
    ),
    _absent("v1", "PersistentVolumeClaim", "persistentvolumeclaims", ("pvc",), why=_NO_VOLUMES),
    _absent(
        "v1",
        "ReplicationController",
        "replicationcontrollers",
        ("rc",),
        categories=("all",),
        why="replication controllers: use a ReplicaSet, or a Deployment",
    ),
    *(
        _absent(
            f"autoscaling/{version}",
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
            ("hpa",),
            categories=("all",),
            why="autoscalers: nothing measures the load of pods; use `kubectl scale`",
        )
        for version in ("v2", "v1")
    ),
    _absent("batch/v1", "CronJob", "cronjobs", ("cj",), categories=("all",), why=_NO_JOBS),
    _absent("batch/v1", "Job", "jobs", categories=("all",), why=_NO_JOBS),
    _absent(
        "policy/v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        ("pdb",),
        why="disruption budgets: no eviction is ever refused",
    ),
    _absent(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        ("crd", "crds"),
        namespaced=False,
        categories=("api-extensions",),
        why="custom resources: it has the kinds that `kubectl api-resources` lists, and a"
        " CustomResourceDefinition cannot add one",
    ),
)
GROUP_VERSIONS = tuple(dict.fromkeys(each.api_version for each in RESOURCES))
# Stored in one form, whichever of its group versions a client speaks.
STORED_VERSIONS = {kind.kind: kind.api_version for kind in reversed(RESOURCES)}
BY_PATH = {(each.api_version, each.plural): each for each in RESOURCES}
