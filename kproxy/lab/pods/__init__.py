"""The pods of a lab, and the programs that run in them.

runtime      makes a pod's namespace and cables, and removes them
server       answers for all pods, in one thread (`http`: in HTTP)
process      commands that are run in a pod and end with the call
commands     commands with streams, for as long as these (`first_process`: keeps their namespaces)
access       what an API does with pods (`environment`: of a container; `log`: of a pod)
nginx        the ingress (`nginx_config`, `nginx_keeper`; `ingress` updates it)
"""
