"""The contract of `kproxy.backend` as tests, for the tests of any backend:

    import pytest
    from kproxy.testing.backend_contract import BackendContract, Subject, unprivileged

    class TestContract(BackendContract):
        @pytest.fixture
        def subject(self) -> Subject:
            return Subject(mode=MODE, refuse=unprivileged, foreign=..., sabotage=...)

Each test runs on a new node, which is a network namespace: that needs root. `Subject.place` may be
something else for a backend that needs no kernel. A failure begins with the broken rule.
"""

from __future__ import annotations

from kproxy.testing.backend_contract.objects import Objects
from kproxy.testing.backend_contract.subject import Subject
from kproxy.testing.backend_contract.syncs import Syncs
from kproxy.testing.node import namespace_state, new_node, unprivileged

__all__ = ["BackendContract", "Subject", "namespace_state", "new_node", "unprivileged"]


class BackendContract(Syncs, Objects):
    """To be inherited by a test class with a fixture `subject`."""
