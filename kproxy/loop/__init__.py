"""One thread that waits for many sockets, and HTTP over them.

    sockets, timers -> Reactor -> callbacks of a server; bytes <- http -> requests, responses

reactor  the thread: listeners, connections, timers, and the handling of failures
check    one question to a server over TCP, for health checks and readiness probes
http     one request and its answer over HTTP/1.1, for servers and for clients. Pure
"""
