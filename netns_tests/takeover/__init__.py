"""docs/operating.md is followed on a node with the rules that a kube-proxy left, under traffic."""
