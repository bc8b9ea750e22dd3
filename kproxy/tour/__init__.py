"""Tours of a lab: manifests are applied, and what becomes of them is explained by observations.

tours       the two there are: of all examples at once, and of one manifest
part        `Part`: what a tour shows at a time
report      parts for a terminal, and for JSON

demo        the questions about all examples at once

run         one manifest on a lab with a control plane, from the first part to the last
catalog     the manifests of examples/services, by name (reads files, needs no lab)
objects     what the control plane made of the manifest
lookups     what the Services' names resolve to, and must
questions   who asks which address of a Service (pure)
sctp        where the first packet of an SCTP association arrives
traffic     the answers to these questions, held against the oracle
steps       what is altered on the way, for some examples
summary     what one has seen, in sentences (pure)
"""
