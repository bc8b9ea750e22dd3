"""Measurements: how long a sync takes and how much memory the proxy needs, at what size.

Each measurement is a process of its own in a namespace of its own, so that nothing of one is
left when the next begins; its peak memory is its own.
"""
