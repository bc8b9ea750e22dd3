"""kube-proxy in one process: Services to kernel rules, clusters of namespaces, real packets.

Data only moves down: `sources` -> `store` -> `forwarding` (pure: planner, plan, oracle) -> a
backend, found by entry point -> `kernel`. `proxy` is the loop that moves it; `lab` builds clusters
to try it on, `probe` asks them with packets, `testing` gives both to pytest, `cli` to people.
"""
