"""Scenarios: documented cases of clients that do or do not reach a Service, with remedies.

    folder (lab.yaml, service.yaml, scenario.yaml, manifests of remedies) -> Scenario, checked
    Scenario, mode, network -> a lab; its questions by real packets; each remedy in the same lab
    -> Run: expectations, observations and reasons

form   the content of scenario.yaml
files  reads folders, and reports every problem in them
run    runs a scenario in a lab
report prints scenarios and runs
pictures draws the ways of its packets
page   shows a run with pictures of its packets
"""
