"""Reviews: who asks, and what they may do. Everybody with a token may do everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kproxy.apiserver.request import ANONYMOUS, User
from kproxy.apiserver.status import bad_request
from kproxy.controlplane.plane import Json

NOT_ENFORCED = "RBAC is not enforced by a lab: every token allows everything"


_OF_OTHERS = ("LocalSubjectAccessReview", "SubjectAccessReview")
KINDS = (
    *_OF_OTHERS,
    *("SelfSubjectAccessReview", "SelfSubjectReview", "SelfSubjectRulesReview", "TokenReview"),
)
Identify = Callable[[str], User | None]
_AUDIENCE = "https://kubernetes.default.svc.cluster.local"  # the only one that tokens are for


def review(document: Json, user: User, now: str, identify: Identify) -> Json:
    """Return a review with its status; `document` is what was posted by `user`. `identify` tells
    whose a token is, None if it is nobody's. Raises Refused (400).
    """
    metadata = {key: value for key, value in document["metadata"].items() if value}
    metadata["creationTimestamp"] = None
    if document["kind"] == "TokenReview":
        status = _owner(document.get("spec"), identify)
    elif document["kind"] in _OF_OTHERS:
        status = _may(_subject(document.get("spec")))
    else:
        status = _STATUS[document["kind"]](user)
    if document["kind"] == "SelfSubjectReview":
        metadata["creationTimestamp"] = now
    spec = document.get("spec")
    return {
        "kind": document["kind"],
        "apiVersion": document["apiVersion"],
        "metadata": metadata,
        **({"spec": spec} if spec is not None else {}),
        "status": status,
    }


def _who(user: User) -> Json:
    return {"userInfo": {"username": user.name, "groups": list(user.groups)}}


def _owner(spec: object, identify: Identify) -> Json:
    """Return whose a token is, as the API server tells it.

    Source: pkg/registry/authentication/tokenreview/storage.go of Kubernetes, v1.36
    """
    asked = spec if isinstance(spec, dict) else {}
    token, audiences = asked.get("token") or "", asked.get("audiences") or [_AUDIENCE]
    if not isinstance(token, str) or not isinstance(audiences, list):
        raise bad_request("TokenReview: spec.token is a string, spec.audiences are a list")
    if not token:
        raise bad_request("token is required for TokenReview in authentication")
    found = identify(token) if _AUDIENCE in audiences else None
    if found is None:
        return {"user": {}, "error": "invalid bearer token"}
    whose = {"username": found.name, "groups": list(found.groups)}
    return {"authenticated": True, "user": whose, "audiences": [_AUDIENCE]}


def _subject(spec: object) -> User:
    """Return the user that a SubjectAccessReview is about. Raises Refused (400)."""
    asked = spec if isinstance(spec, dict) else {}
    name, groups = asked.get("user") or "", asked.get("groups") or []
    if not isinstance(name, str) or not isinstance(groups, list):
        raise bad_request("spec.user is a string, spec.groups are a list")
    if not name and not groups:
        raise bad_request("spec.user: Invalid value: at least one of user or group is required")
    return User(name, tuple(map(str, groups)))


def _may(user: User) -> Json:
    if user.name == ANONYMOUS.name or set(ANONYMOUS.groups) & set(user.groups):
        return {"allowed": False, "reason": "without a token nothing is allowed"}
    return {"allowed": True, "reason": NOT_ENFORCED}


def _rules(_user: User) -> Json:
    return {
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        "incomplete": False,
        "evaluationError": NOT_ENFORCED,
    }


_STATUS: Mapping[str, Callable[[User], Json]] = {
    "SelfSubjectAccessReview": _may,
    "SelfSubjectReview": _who,
    "SelfSubjectRulesReview": _rules,
}
