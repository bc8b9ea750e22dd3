"""The decisions of a service proxy, as pure functions: no kernel, no clock, no files.

`planner` turns objects of the store into a `plan`, which is all that a backend needs to know.
`oracle` predicts from plans and the description of a `network` what happens to a packet, and why.
"""
