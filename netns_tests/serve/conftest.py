from netns_tests.run.conftest import broken_restore, place, service

__all__ = ["broken_restore", "place", "service"]
