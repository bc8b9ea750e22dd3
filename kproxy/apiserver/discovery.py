"""Groups, versions and resources as the API tells of them, in both forms of discovery.

Source: apiserver, pkg/endpoints/discovery; api/apidiscovery/v2
"""

from __future__ import annotations

from functools import cache
from hashlib import sha512

from msgspec.json import encode

from kproxy.apiserver.negotiation import JSON, ranges
from kproxy.apiserver.request import Answer, Request
from kproxy.apiserver.resources import GROUP_VERSIONS, RESOURCES, Resource, Subresource
from kproxy.apiserver.status import no_resource
from kproxy.controlplane.plane import Json

VERSION = "v1.37.1"
_GROUP = "apidiscovery.k8s.io"
_KIND = "APIGroupDiscoveryList"


def version() -> Json:
    """Return the answer to /version."""
    major, minor, _ = VERSION.removeprefix("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"{VERSION}+kproxy",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    }


def discovery(request: Request, segments: list[str], address: str) -> Answer:
    """Answer /api, /apis and the paths of one group version. Raises Refused (404)."""
    if len(segments) == 1:
        for each in ranges(request.headers.get("accept", JSON)):
            named = (each.parameter("g"), each.parameter("as"))
            form = each.parameter("v")
            if named == (_GROUP, _KIND) and form in ("v2", "v2beta1"):
                return _aggregated(request, segments[0], form)
            if each.kind in (JSON, "*/*", "application/*") and not each.parameter("as"):
                break
        return _plain(_legacy(segments[0], address))
    if segments[0] == "api":
        group_version = segments[1]
    elif len(segments) == 2:
        return _plain(_group(segments[1]))
    else:
        group_version = "/".join(segments[1:])
    if group_version not in GROUP_VERSIONS or ("/" in group_version) is (segments[0] == "api"):
        raise no_resource()
    return _plain(_resources(group_version))


def _plain(body: Json) -> Answer:
    return Answer(200, encode(body), headers=(("Vary", "Accept"),))


def _aggregated(request: Request, root: str, form: str) -> Answer:
    body, tag = _document(root, form)
    content_type = f"{JSON};g={_GROUP};v={form};as={_KIND}"
    headers = (("ETag", tag), ("Vary", "Accept"))
    known = [each.strip() for each in request.headers.get("if-none-match", "").split(",")]
    if tag in known:
        return Answer(304, b"", content_type, headers)
    return Answer(200, body, content_type, headers)


@cache
def _document(root: str, form: str) -> tuple[bytes, str]:
    groups = [each for each in _groups() if (each == "") is (root == "api")]
    body = encode(
        {
            "kind": _KIND,
            "apiVersion": f"{_GROUP}/{form}",
            "metadata": {},
            "items": [
                {
                    "metadata": {"name": group, "creationTimestamp": None} if group else {},
                    "versions": [
                        {
                            "version": version,
                            "resources": [
                                _described(each)
                                for each in RESOURCES
                                if (each.group, each.version) == (group, version)
                            ],
                            "freshness": "Current",
                        }
                        for version in _versions(group)
                    ],
                }
                for group in groups
            ],
        }
    )
    return body, f'"{sha512(body).hexdigest().upper()}"'


def _described(resource: Resource) -> Json:
    described: Json = {
        "resource": resource.plural,
        "responseKind": _kind(resource.group, resource.version, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        described["shortNames"] = list(resource.short_names)
    if resource.categories:
        described["categories"] = list(resource.categories)
    if resource.subresources:
        described["subresources"] = [
            {
                "subresource": part.name,
                "responseKind": _kind(*_kind_of(resource, part)),
                "verbs": list(part.verbs),
            }
            for part in resource.subresources
        ]
    return described


def _kind_of(resource: Resource, part: Subresource) -> tuple[str, str, str]:
    if part.version:
        return part.group, part.version, part.kind
    return resource.group, resource.version, part.kind or resource.kind


def _kind(group: str, version: str, kind: str) -> Json:
    return {"group": group, "version": version, "kind": kind}


def _groups() -> list[str]:
    return list(dict.fromkeys(each.group for each in RESOURCES))


def _versions(group: str) -> list[str]:
    return list(dict.fromkeys(each.version for each in RESOURCES if each.group == group))


def _legacy(root: str, address: str) -> Json:
    if root == "api":
        return {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [
                {"clientCIDR": "0.0.0.0/0", "serverAddress": address},
            ],
        }
    groups = [_described_group(each) for each in _groups() if each]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def _group(group: str) -> Json:
    if not group or group not in _groups():
        raise no_resource()
    return {"kind": "APIGroup", "apiVersion": "v1", **_described_group(group)}


def _described_group(group: str) -> Json:
    versions = [
        {"groupVersion": f"{group}/{version}", "version": version} for version in _versions(group)
    ]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _resources(group_version: str) -> Json:
    found = []
    for each in RESOURCES:
        if each.api_version != group_version:
            continue
        entry: Json = {
            "name": each.plural,
            "singularName": each.singular,
            "namespaced": each.namespaced,
            "kind": each.kind,
            "verbs": list(each.verbs),
        }
        if each.short_names:
            entry["shortNames"] = list(each.short_names)
        if each.categories:
            entry["categories"] = list(each.categories)
        found.append(entry)
        for part in each.subresources:
            group, version, kind = _kind_of(each, part)
            about = {"group": group, "version": version} if part.version else {}
            found.append(
                {
                    "name": f"{each.plural}/{part.name}",
                    "singularName": "",
                    "namespaced": each.namespaced,
                    **about,
                    "kind": kind,
                    "verbs": list(part.verbs),
                }
            )
    return {
        "kind": "APIResourceList",
        **({"apiVersion": "v1"} if group_version != "v1" else {}),
        "groupVersion": group_version,
        "resources": found,
    }
