"""The health server's answers: whether a node's proxy keeps up, and may get new traffic. Pure.

Source: kube-proxy v1.36 healthcheck/proxy_health.go
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from kproxy.address import Family
from kproxy.api.types import Node
from kproxy.loop.http import Response
from kproxy.proxy.health import FamilyHealth

TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"
_NEVER = "0001-01-01T00:00:00Z"  # the zero time of Go


def is_eligible(node: Node | None) -> bool:
    """Tell whether load balancers may send new traffic to a node: not if it is going away.

    A Node that is not known is not eligible, as with kube-proxy.
    """
    return (
        node is not None
        and node.metadata.deletion_timestamp is None
        and all(taint.key != TO_BE_DELETED for taint in node.spec.taints)
    )


def health_answer(
    families: Mapping[Family, FamilyHealth], now_ns: int, *, eligible: bool | None = None
) -> Response:
    """Return the answer: 200 if all families are healthy, and the node is eligible.

    `eligible` None: it does not count, and is not told. Times are nanoseconds since the epoch.
    """
    healthy = all(family.healthy for family in families.values())
    fine = healthy and eligible is not False
    updated = [family.updated_ns for family in families.values()]
    last = rfc3339(max(updated)) if updated else _NEVER
    body: dict[str, object] = {"lastUpdated": rfc3339(now_ns) if fine else last}
    body["currentTime"] = rfc3339(now_ns)
    if eligible is not None:
        body["nodeEligible"] = eligible
    body["healthy"] = healthy
    if families:
        body["status"] = {
            name: {"lastUpdated": rfc3339(family.updated_ns), "healthy": family.healthy}
            for name, family in families.items()
        }
    return Response(
        status=200 if fine else 503,
        headers=(
            ("Content-Type", "application/json"),
            ("X-Content-Type-Options", "nosniff"),
        ),
        body=json.dumps(body, separators=(",", ":")).encode(),
    )


def rfc3339(time_ns: int) -> str:
    """Return a time in the local zone as Go writes it: up to nanoseconds, without final zeros."""
    seconds, fraction_ns = divmod(time_ns, 10**9)
    local = datetime.fromtimestamp(seconds).astimezone()
    fraction = f".{fraction_ns:09}".rstrip("0").rstrip(".")
    zone = local.isoformat()[19:]
    return f"{local:%Y-%m-%dT%H:%M:%S}{fraction}{'Z' if zone == '+00:00' else zone}"
