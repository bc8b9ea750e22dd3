"""A place for `kproxy run`, as for its own tests."""

from netns_tests.run.conftest import place

__all__ = ["place"]
