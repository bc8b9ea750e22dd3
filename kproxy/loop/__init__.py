"""Waiting for many sockets at once, in one thread, and what is spoken over them.

    sockets, timers -> Reactor -> callbacks of a server; bytes <- http -> requests, responses

reactor  the thread: listeners, connections, timers, and what happens when something fails
check    one question to a server over TCP, for health checks and readiness probes
http     one request and its answer over HTTP/1.1, for servers and for clients. Pure
"""
