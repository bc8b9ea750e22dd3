"""Connections that a process of the node relays: accepted from a client, made again to an endpoint.

choice   the choice of an endpoint for a client (pure)
copying  accepts connections, and copies bytes both ways
thread   the event loop that all of it runs on

Backends import `copying` and `thread` only when they are needed: asyncio takes 3 MiB.
"""
