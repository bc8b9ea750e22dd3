"""Quantities in thousandths."""

from __future__ import annotations

import pytest

from kproxy.api.quantities import milli_units

QUANTITIES = [  # quantity -> thousandths; None: it is no quantity
    (4, 4000),
    ("4", 4000),
    ("3920m", 3920),
    ("0.5", 500),
    (".5", 500),
    ("4.", 4000),
    ("1n", 1),  # rounded up
    ("250000u", 250),
    ("1k", 1_000_000),
    ("2Ki", 2_048_000),
    ("1e3", 1_000_000),
    ("5E-1", 500),
    ("", None),
    ("-1", None),
    ("4 cores", None),
    ("1K", None),
    ("٤", None),
]


@pytest.mark.parametrize(("quantity", "thousandths"), QUANTITIES)
def test_quantities(quantity: int | str, thousandths: int | None) -> None:
    assert milli_units(quantity) == thousandths
