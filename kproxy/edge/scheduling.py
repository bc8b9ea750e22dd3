"""The order in which new connections go to backends: a list of slots, used over and over. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import gcd

from kproxy.edge.annotations import Algorithm

_AHEAD = 2  # rounds that LEAST_CONNECTIONS plans ahead, for bursts


def slots(algorithm: Algorithm, weights: Sequence[int], loads: Sequence[int]) -> list[int]:
    """Return the slots, as indexes of backends.

    `weights` are positive; `loads`: connections that each backend has now.
    """
    match algorithm:
        case Algorithm.ROUND_ROBIN:
            return list(range(len(weights)))
        case Algorithm.WEIGHTED_ROUND_ROBIN:
            return _smooth(weights)
        case Algorithm.LEAST_CONNECTIONS:
            return _least([1] * len(weights), loads)
        case Algorithm.WEIGHTED_LEAST_CONNECTIONS:
            return _least(weights, loads)


def _smooth(weights: Sequence[int]) -> list[int]:
    """Return each index as often as its weight says, spread evenly: 3, 1 -> 0 0 1 0.

    Source: nginx, ngx_http_upstream_round_robin.c ("smooth weighted round-robin")
    """
    if not weights:
        return []
    divisor = reduce(gcd, weights)
    current = [0] * len(weights)
    found = []
    for _ in range(sum(weights) // divisor):
        current = [has + weight for has, weight in zip(current, weights, strict=True)]
        best = max(range(len(weights)), key=lambda index: current[index])
        current[best] -= sum(weights)
        found.append(best)
    return found


def _least(weights: Sequence[int], loads: Sequence[int]) -> list[int]:
    """Return the index with the fewest connections for its weight, again and again.

    Connections are counted as if none ended meanwhile.
    """
    ahead = list(loads)
    found = []
    for _ in range(_AHEAD * len(weights)):
        best = min(range(len(weights)), key=lambda index: (ahead[index] + 1) / weights[index])
        ahead[best] += 1
        found.append(best)
    return found
