"""Tours of a lab: manifests are applied, and their effects are shown and explained by observations.

tours       the two tours: of all examples at once, and of one manifest
part        `Part`: one part of a tour
report      parts for a terminal, and for JSON

demo        the questions about all examples at once

run         one manifest on a lab with a control plane, from the first part to the last
catalog     the manifests of examples/services, by name (reads files, needs no lab)
objects     the objects that the control plane has made
lookups     the names of Services, resolved and compared with what they must resolve to
questions   the addresses of a Service and the clients that ask them (pure)
sctp        the pod that the first packet of an SCTP association reaches
traffic     the answers to these questions, compared with the oracle
steps       changes during the tour, for some examples
summary     the observations in sentences (pure)
"""
