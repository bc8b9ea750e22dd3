"""Thin, typed access to the kernel, always to the network namespace of the calling thread.

- `netns`: namespaces as values; whoever wants another namespace enters it first.
- `process`: the one place that starts programs (`run`).
- `sysctl`: /proc/sys.
- `links`: virtual Ethernet pairs, addresses and routes.

Nothing here knows Services, plans or labs. Requests go down, text and exceptions come back:
`Unsupported` if the machine lacks something, `KernelRefused` if it said no.
"""
