"""The rules that a mode has for given objects: on paper, and those of one Service in order.

    objects, configuration -> `Paper` -> the plan of a node -> `ProgramInput`, or `RuleLine`s

Nouns: `Paper`, a mode and its configuration without any kernel; `Listing`, all rules of a mode,
rendered or read; `RuleLine`, one rule on the way of a Service's packets.
All is pure but for `reading`.
"""
