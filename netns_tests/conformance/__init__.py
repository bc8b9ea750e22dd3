"""What the real kube-proxy left in the kernel, and whether kproxy leaves the same.

A case is a pair of inputs (objects, configuration) and a recording for each mode. `node` makes the
namespace the recordings were made in, `dump` reads what a service proxy left there as text,
`comparison` tells two such texts apart by meaning.
"""
