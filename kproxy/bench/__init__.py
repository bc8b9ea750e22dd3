"""Measurements: the time of a sync and a connection, and the memory of the proxy, by size.

Each measurement is a process of its own in a namespace of its own, so that nothing is left of it
when the next one begins, and its peak memory is its own.
"""
