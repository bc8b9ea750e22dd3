"""Access to a Kubernetes API server: credentials, requests and streams, and the Events it is sent.

- `kubeconfig`, `plugin`, `credentials`: who kproxy is, and to which server it speaks.
- `connection`: requests and streams with these.
- `events`, `recorder`: the Events that kube-proxy sends, and their sender.
"""
