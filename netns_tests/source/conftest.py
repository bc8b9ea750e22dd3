from netns_tests.run.conftest import place, service
from netns_tests.run.test_run_process import manager

__all__ = ["manager", "place", "service"]
