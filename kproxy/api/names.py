"""Checks of names. These end up in rules, comments and file names, so no other names are let in.

Source: k8s.io/apimachinery/pkg/util/validation (IsDNS1123Label, IsDNS1123Subdomain,
IsWildcardDNS1123Subdomain, IsQualifiedName, IsValidLabelValue, IsValidPortName)
"""

from __future__ import annotations

import re
from functools import lru_cache

# Kubernetes allows 63, but kube-proxy works with more. `namespace/name:port` of 66 + 66 + 63
# characters has 197; the longest comment around it ("other traffic to ... will be dropped by
# KUBE-PROXY-FIREWALL") adds 56; iptables keeps 255.
MAX_SERVICE_NAME = 66
MAX_LABEL = 63
MAX_SUBDOMAIN = 253
MAX_PORT_NAME = 15

# Results are cached: node and zone names recur with each endpoint, port names with each Service.

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(?:\.{_LABEL.pattern})*")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")


@lru_cache(maxsize=1024)
def label_problem(text: str, limit: int = MAX_LABEL) -> str:
    """Return why `text` is not a DNS label of at most `limit` characters; "" if it is one."""
    if len(text) > limit:
        return f"has {len(text)} characters; {limit} are allowed"
    if not _LABEL.fullmatch(text):
        return (
            "is not a DNS label: only a-z, 0-9 and - are allowed, "
            "with a letter or digit at both ends"
        )
    return ""


def service_name_problem(text: str) -> str:
    """Return why `text` cannot be the name of a Service or namespace; "" if it can."""
    return label_problem(text, MAX_SERVICE_NAME)


@lru_cache(maxsize=8192)
def subdomain_problem(text: str) -> str:
    """Return why `text` is not a DNS name (labels with dots in between); "" if it is one."""
    if len(text) > MAX_SUBDOMAIN:
        return f"has {len(text)} characters; {MAX_SUBDOMAIN} are allowed"
    if not _SUBDOMAIN.fullmatch(text):
        return (
            "is not a DNS name: only a-z, 0-9, - and . are allowed, "
            "with a letter or digit at both ends of each part"
        )
    return ""


def wildcard_problem(text: str) -> str:
    """Return why `text` is not a DNS name with `*` for its first part; "" if it is one."""
    if not text.startswith("*."):
        return "has a * that is not the whole first part, as in *.example.com"
    return subdomain_problem(text.removeprefix("*."))


@lru_cache(maxsize=1024)
def label_value_problem(text: str) -> str:
    """Return why `text` cannot be the value of a Kubernetes label; "" if it can."""
    if len(text) > MAX_LABEL:
        return f"has {len(text)} characters; {MAX_LABEL} are allowed"
    if text and not _LABEL_VALUE.fullmatch(text):
        return (
            "is not a label value: only letters, digits, -, _ and . are allowed, "
            "with a letter or digit at both ends"
        )
    return ""


@lru_cache(maxsize=1024)
def qualified_name_problem(text: str) -> str:
    """Return why `text` is not a qualified name, such as a label's key; "" if it is one."""
    prefix, slash, name = text.rpartition("/")
    if slash and subdomain_problem(prefix):
        return "is not a qualified name: what is before the / is not a DNS name"
    if len(name) > MAX_LABEL:
        return f"has {len(name)} characters after its prefix; {MAX_LABEL} are allowed"
    if not _LABEL_VALUE.fullmatch(name):
        return (
            "is not a qualified name such as example.com/name: only letters, digits, -, _ and . "
            "are allowed, with a letter or digit at both ends"
        )
    return ""


@lru_cache(maxsize=1024)
def port_name_problem(text: str) -> str:
    """Return why `text` cannot be the name of a container's port; "" if it can."""
    if len(text) > MAX_PORT_NAME:
        return f"has {len(text)} characters; {MAX_PORT_NAME} are allowed"
    if not _LABEL.fullmatch(text) or "--" in text or text.replace("-", "").isdecimal():
        return (
            "is not a port name: only a-z, 0-9 and - are allowed, with a letter somewhere, "
            "a letter or digit at both ends, and no two - in a row"
        )
    return ""
