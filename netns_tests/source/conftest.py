from netns_tests.run.conftest import place, service

__all__ = ["place", "service"]
