"""What runs in the pods of a lab.

runtime      makes a pod's namespace and cables, and ends them
server       answers for all pods, in one thread (`http`: in HTTP)
process      commands that are run in a pod
nginx        the ingress (`nginx_config`, `nginx_keeper`; `ingress` keeps it up to date)
"""
