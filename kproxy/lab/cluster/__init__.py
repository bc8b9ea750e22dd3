"""The control plane of a lab: it runs the pods that the objects ask for, on every node.

control_plane    the verbs: apply, delete, scale; repeats reconciliation until nothing changes
setup            makes all of it when a lab starts
kubelet          runs the Pods that are scheduled, and reports their status
readiness        asks their readiness probes (`probe_questions`: what is asked)
dns, announcer   follow the control plane's objects: names; routes of load balancers' addresses
pod_handle       one running pod, for tests that disturb it
"""
