"""Compares what kproxy leaves in the kernel with recordings of the real kube-proxy.

A case is a pair of inputs (objects, configuration) and a recording for each mode. `node` makes the
namespace the recordings were made in, `dump` reads what a service proxy left there as text,
`comparison` compares two such texts by meaning.
"""
