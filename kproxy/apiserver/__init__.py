"""The Kubernetes API of a cluster, from a request to its answer; no socket, thread or clock in it.

    Request -> ApiServer.handle -> Answer            what can be said at once
                                -> Work              a write: run it behind those before it
                                -> Watch             a stream of events, made piece by piece
                                -> Upgrade           a stream of a pod: for who serves its pods
    Plane (control plane) -> Write -> ReadModel -> answers to get and list, events of watches

Reads are served from the read model and never wait for the control plane; it knows every write
that was answered before. `kproxy/apiserver/http` is the shell: sockets, TLS, threads and time.
"""
