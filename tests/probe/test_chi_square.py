"""The chi-square test against printed tables."""

import math

import pytest

from kproxy.probe.chi_square import REJECT_BELOW, p_value, survival

# Source: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4
TABLE = [  # degrees of freedom, critical value, upper tail
    (1, 3.841, 0.05),
    (1, 10.828, 0.001),
    (2, 5.991, 0.05),
    (3, 7.815, 0.05),
    (5, 15.086, 0.01),
    (10, 18.307, 0.05),
    (50, 67.505, 0.05),
    (100, 149.449, 0.001),
]


@pytest.mark.parametrize(("degrees", "critical", "tail"), TABLE)
def test_the_tail_is_that_of_the_tables(degrees: int, critical: float, tail: float) -> None:
    assert survival(critical, degrees) == pytest.approx(tail, rel=2e-3)


@pytest.mark.parametrize("x", [0.01, 0.5, 1.9, 2.1, 10, 60])
def test_with_two_degrees_the_tail_is_an_exponential(x: float) -> None:
    assert survival(x, 2) == pytest.approx(math.exp(-x / 2), rel=1e-9)


SPREADS = [  # counts, uneven
    ((100, 100, 100), False),
    ((85, 110, 105), False),
    ((150, 75, 75), True),  # the rules' probabilities are 1/2, 1/2, 1 instead of 1/3, 1/2, 1
    ((300, 0, 0), True),
    ((150, 150, 0), True),  # one endpoint never chosen
    ((300,), False),
    ((0, 0), False),
]


@pytest.mark.parametrize(("counts", "doubted"), SPREADS)
def test_only_uneven_spreads_are_doubted(counts: tuple[int, ...], doubted: bool) -> None:
    assert (p_value(counts) < REJECT_BELOW) is doubted
