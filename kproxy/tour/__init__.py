"""A manifest applied to a lab with a control plane, and explained by what is observed.

catalog     the manifests of examples/services, by name (reads files, needs no lab)
part        `Part`: what one stop of a tour has to show
objects     what the control plane made of the manifest
lookups     what the Services' names resolve to, and must
questions   who asks which address of a Service (pure)
sctp        where the first packet of an SCTP association arrives
traffic     the answers to these questions, held against the oracle
steps       what is altered on the way, for some examples
summary     what one has seen, in sentences (pure)
run         all of it, in order
"""
