"""Reading from a Kubernetes API server, as kube-proxy does.

    kubeconfig -> Connection -> bytes -> Reflector -> Received (an update of the store, rejections)

connection   requests and streams; `credentials` says who asks: kubeconfig, plugin, tls; `reasons`
             says why a request failed
resources    the collections that a service proxy reads, and their selectors. Pure
stream       the JSON of lists and of watches, as objects of `kproxy.api`. Pure
reflector    keeps a copy of one collection: what to ask next, what an answer changes. Pure
"""
