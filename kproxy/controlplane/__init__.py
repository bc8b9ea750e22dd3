"""The decisions of a cluster about its objects before a proxy reads them; pure, like the API types.

    Service as written -> Allocator.admit -> Service as stored: cluster IPs, node ports, families
    Service, its Pods  -> endpoint slices and Endpoints -> every node's store

Decisions and refusals are those of the Kubernetes API server and its controllers. Randomness is an
argument; nothing here knows a network namespace.
"""
