"""Waiting for many sockets at once, in one thread.

check  one question to a server over TCP, for health checks and readiness probes
"""
