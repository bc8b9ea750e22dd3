"""The order in which backends get new connections."""

from __future__ import annotations

import pytest

from kproxy.edge.annotations import Algorithm
from kproxy.edge.scheduling import slots

RR, WRR = Algorithm.ROUND_ROBIN, Algorithm.WEIGHTED_ROUND_ROBIN
LC, WLC = Algorithm.LEAST_CONNECTIONS, Algorithm.WEIGHTED_LEAST_CONNECTIONS

CASES = [  # algorithm, weights, loads -> slots
    (RR, [1, 1, 1], [0, 0, 0], [0, 1, 2]),
    (RR, [3, 1], [5, 0], [0, 1]),
    (WRR, [1, 1], [0, 0], [0, 1]),
    (WRR, [4, 2], [0, 0], [0, 1, 0]),
    (WRR, [3, 1], [0, 0], [0, 0, 1, 0]),
    (WRR, [5, 1, 1], [0, 0, 0], [0, 0, 1, 0, 2, 0, 0]),
    (LC, [1, 1], [0, 0], [0, 1, 0, 1]),
    (LC, [1, 1], [3, 1], [1, 1, 0, 1]),
    (LC, [9, 1], [0, 0], [0, 1, 0, 1]),
    (LC, [1, 1, 1], [0, 9, 0], [0, 2, 0, 2, 0, 2]),
    (WLC, [3, 1], [0, 0], [0, 0, 0, 1]),
    (WLC, [3, 1], [3, 0], [1, 0, 0, 0]),
    *((algorithm, [], [], []) for algorithm in Algorithm),
    *((algorithm, [7], [2], [0]) for algorithm in (RR, WRR)),
]


@pytest.mark.parametrize(("algorithm", "weights", "loads", "expected"), CASES)
def test_the_order(
    algorithm: Algorithm, weights: list[int], loads: list[int], expected: list[int]
) -> None:
    assert slots(algorithm, weights, loads) == expected
