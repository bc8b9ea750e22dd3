"""The client `kubernetes` in a pod, which knows of the API what every pod does."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from netns_tests.clients.served import PACKAGES, Served

PODS_OWN = ("/root", "/tmp", "/run", "/var/tmp")

# Prints who it is, the pods that it sees, and the host that it asked.
_PROGRAM = """\
import json
from kubernetes import client, config
config.load_incluster_config()
named = client.Configuration.get_default_copy()
named.host = "https://kubernetes.default.svc"
with client.ApiClient() as by_address, client.ApiClient(named) as by_name:
    reviews = client.AuthenticationV1Api(by_address)
    me = reviews.create_self_subject_review({"kind": "SelfSubjectReview"})
    pods = client.CoreV1Api(by_name).list_namespaced_pod("default")
    print(json.dumps({
        "host": by_address.configuration.host,
        "user": me.status.user_info.username,
        "pods": [each.metadata.name for each in pods.items],
    }))
"""


def interpreter() -> str:
    """Return a Python that pods have, too: some of their folders are their own, and empty."""
    found = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    for each in map(os.path.realpath, filter(None, (sys.executable, found))):
        if not any(Path(each).is_relative_to(folder) for folder in PODS_OWN):
            return each
    raise AssertionError("no Python that pods have: apt-get install python3")


def test_a_pod_reaches_the_api_as_its_service_account(lab: Served) -> None:
    """By the Service's address and by its name; certificates are verified for both."""
    command = ("env", f"PYTHONPATH={PACKAGES}", interpreter(), "-c", _PROGRAM)
    found = json.loads(lab.machine.ok("exec", "shell", "--", *command))
    assert found["host"] == "https://10.96.0.1:443"
    assert found["user"] == "system:serviceaccount:default:default"
    assert "shell" in found["pods"]
