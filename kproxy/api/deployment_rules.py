"""Checks of one Deployment, also for what a lab cannot do.

Source: pkg/apis/apps/validation/validation.go (ValidateDeploymentSpec, ValidateDeploymentStrategy,
ValidateRollingUpdateDeployment)
"""

from __future__ import annotations

import re

from kproxy.api.checks import (
    altered,
    check_count,
    check_labels,
    check_metadata,
    check_replicas,
)
from kproxy.api.pod_rules import check_pod_spec
from kproxy.api.problems import Report, shown
from kproxy.api.types import (
    NO_ROLLING_UPDATE,
    Deployment,
    DeploymentSpec,
    DeploymentStrategy,
    LabelSelector,
    PodTemplateSpec,
    RollingUpdateDeployment,
)

_PERCENTAGE = re.compile(r"[0-9]{1,9}%")
_MAX_PERCENT = 100


def check_deployment(deployment: Deployment, report: Report) -> Deployment:
    """Return the Deployment with defaults. Faults go to `report`."""
    metadata = check_metadata(report, deployment.metadata)
    check_labels(report, "metadata.labels", metadata.labels)
    spec = deployment.spec
    if spec.replicas is not None:
        check_replicas(report, "spec.replicas", spec.replicas)
    _check_selector(spec.selector, report)
    template = _checked_template(spec, report)
    _check_strategy(spec.strategy, report)
    check_count(report, "spec.minReadySeconds", spec.min_ready_seconds)
    check_count(report, "spec.revisionHistoryLimit", spec.revision_history_limit)
    _check_deadline(spec, report)
    return altered(deployment, metadata=metadata, spec=altered(spec, template=template))


def _check_deadline(spec: DeploymentSpec, report: Report) -> None:
    field, deadline_s = "spec.progressDeadlineSeconds", spec.progress_deadline_seconds
    check_count(report, field, deadline_s)
    if 0 <= deadline_s <= spec.min_ready_seconds:
        report.add(field, f"{shown(deadline_s)} must be greater than minReadySeconds")


def _check_selector(selector: LabelSelector, report: Report) -> None:
    check_labels(report, "spec.selector.matchLabels", selector.match_labels)
    if selector.match_expressions:
        report.add("spec.selector.matchExpressions", "is not supported; matchLabels is")
    elif not selector.match_labels:
        report.add("spec.selector", "empty selector is invalid for deployment")


def _checked_template(spec: DeploymentSpec, report: Report) -> PodTemplateSpec:
    template, path = spec.template, "spec.template"
    labels = template.metadata.labels
    check_labels(report, f"{path}.metadata.labels", labels)
    matched = spec.selector.match_labels.items() <= labels.items()
    if not (matched or report.doubts("spec.selector")):
        report.add(f"{path}.metadata.labels", "`selector` does not match template `labels`")
    if template.spec.restart_policy != "Always":
        told = f"{shown(template.spec.restart_policy)} is not allowed; Always is"
        report.add(f"{path}.spec.restartPolicy", told)
    return altered(
        template, spec=check_pod_spec(template.spec, f"{path}.spec", report, runs_here=True)
    )


def _check_strategy(strategy: DeploymentStrategy, report: Report) -> None:
    field = "spec.strategy.rollingUpdate"
    if strategy.type == "RollingUpdate":
        _check_rolling_update(strategy.rolling_update, field, report)
    elif strategy.rolling_update is not NO_ROLLING_UPDATE:
        report.add(field, "may not be specified when strategy `type` is 'Recreate'")


def _check_rolling_update(update: RollingUpdateDeployment, path: str, report: Report) -> None:
    unavailable = _amount(update.max_unavailable, f"{path}.maxUnavailable", report)
    surge = _amount(update.max_surge, f"{path}.maxSurge", report)
    if unavailable == surge == 0:
        report.add(f"{path}.maxUnavailable", "may not be 0 when `maxSurge` is 0")
    if isinstance(update.max_unavailable, str) and unavailable and unavailable > _MAX_PERCENT:
        told = f"{shown(update.max_unavailable)} must not be greater than 100%"
        report.add(f"{path}.maxUnavailable", told)


def _amount(value: int | str, field: str, report: Report) -> int | None:
    """Return the number of Pods or of percent; None if the value is neither."""
    if isinstance(value, int):
        check_count(report, field, value)
        return value
    if _PERCENTAGE.fullmatch(value):
        return int(value.removesuffix("%"))
    told = "a valid percent string must be a numeric string followed by an ending '%'"
    report.add(field, f"{shown(value)} is none: {told}")
    return None
