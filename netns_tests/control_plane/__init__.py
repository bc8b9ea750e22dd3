"""The life of Pods, Deployments and Services in a lab, as clients and kernels see it."""
