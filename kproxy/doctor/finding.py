"""Findings of checks, and the diagnosis that they make up. All values."""

from __future__ import annotations

import enum

from msgspec import Struct

from kproxy.store import ServiceKey


class Severity(enum.Enum):
    """How bad a finding is; the worst is first."""

    ERROR = "error"
    """Something does not work, for everybody or for some."""
    WARNING = "warning"
    """Something does not work in some case, or soon will not."""
    NOTE = "note"
    """Something is not as its author may think."""


class Sureness(enum.Enum):
    """How sure it is that the finding is a fault."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


class Part(enum.Enum):
    """The parts of the facts that checks need."""

    OBJECTS = "objects"
    PODS = "Pods, or workloads that make them"
    ENDPOINTS = "EndpointSlices"
    NODES = "Nodes"
    WORKLOADS = "workloads"
    WHOLE_CLUSTER = "all objects of the cluster"
    API_SERVER = "API server"
    KERNEL = "kernel of the nodes"
    RULES = "rules of the nodes"
    PROXIES = "what belongs to which proxy mode"
    PLANS = "the rules that there should be"
    LISTENERS = "sockets of the pods"
    LINKS_OF_PODS = "links of the pods"
    RESOLVERS = "resolv.conf of the pods"
    NAMES = "DNS questions"


class Missing(Struct, frozen=True):
    """A part of the facts that is not known, in one place or, with `where` "", anywhere."""

    part: Part
    why: str
    where: str = ""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that is wrong.

    `object` is a Kubernetes object such as `Service default/web`, or ""; `host` a node or pod, or
    "". `evidence` says what was seen and where it comes from. `remedy` has a command, ready to be
    typed on the host, or anywhere if there is none, behind "$ ", and words.
    `service`: the Service that it concerns, if it is only one.
    """

    id: str
    severity: Severity
    object: str = ""
    host: str = ""
    evidence: tuple[str, ...]
    remedy: tuple[str, ...]
    sure: Sureness = Sureness.CERTAIN
    service: ServiceKey | None = None


class LeftOut(Struct, frozen=True, kw_only=True):
    """Checks, by their ids, that could not be made in a place (anywhere if it is "")."""

    checks: tuple[str, ...]
    where: str
    why: str


class Diagnosis(Struct, frozen=True, kw_only=True):
    """The result of all checks.

    `findings` are the causes, worst first. `symptoms` were seen as well, and probably follow from
    one of them. `made`: the ids of the checks that were made somewhere. `looked_at`: what there
    was to look at, in words.
    """

    findings: tuple[Finding, ...]
    symptoms: tuple[Finding, ...]
    left_out: tuple[LeftOut, ...]
    made: tuple[str, ...]
    looked_at: str
