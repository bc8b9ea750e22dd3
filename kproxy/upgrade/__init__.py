"""Compares versions of kube-proxy, or modes, for given objects. Pure but for `packets`, which asks a
lab.

    objects, configuration -> Side (twice) -> settings, rules, behaviours, answers -> differences

Nouns: `Side`, one version and mode; `Model`, the objects in a lab of their own, so that packets can
be predicted and sent; `Question`, a client that asks an address; `Report`, all differences.
"""
