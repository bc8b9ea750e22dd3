"""Finds what is wrong with Services and nodes, with evidence and a remedy for each finding.

    manifests, API server, lab, kernel -> Facts -> CHECKS, each facts -> findings -> Diagnosis

`from_objects`, `from_lab` and `from_kernel` collect facts and only read; all the rest is pure.
`checks.CHECKS` is the table of all checks. A check that lacks facts is listed as left out.
"""

from kproxy.doctor.checks import CHECKS, diagnose
from kproxy.doctor.finding import Diagnosis, Finding, LeftOut, Severity, Sureness

__all__ = ["CHECKS", "Diagnosis", "Finding", "LeftOut", "Severity", "Sureness", "diagnose"]
