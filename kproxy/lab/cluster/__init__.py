"""What a lab with a control plane runs: it turns what is written into pods, on every node.

control_plane    the verbs: apply, delete, scale; goes round until nothing changes
setup            makes all of it when a lab starts
kubelet          runs the Pods that are scheduled, and reports their status
readiness        asks their readiness probes (`probe_questions`: what is asked)
dns, announcer   follow what the control plane holds: names; where load balancers' addresses lead
pod_handle       one running pod, for tests that tamper with it
"""
