"""What a service proxy must do, as pure functions: no kernel, no clock, no files.

`planner`: objects of the store -> `plan`, all that a backend needs to know. `oracle`: plans and the
description of a `network` -> what becomes of a packet, and why.
"""
