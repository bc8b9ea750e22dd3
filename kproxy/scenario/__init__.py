"""Scenarios: documented cases of who reaches a Service from where, each with its remedies.

    folder (lab.yaml, service.yaml, scenario.yaml, manifests of remedies) -> Scenario, checked
    Scenario, mode, network -> a lab; its questions by real packets; each remedy in the same lab
    -> Run: what was expected, what was observed, and why

form   what scenario.yaml may hold
files  folders to scenarios; everything that is wrong with them
run    a scenario in a lab
"""
