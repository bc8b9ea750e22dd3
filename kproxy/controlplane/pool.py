"""A pool of numbers. Dynamic requests use the upper band first, to leave room for static ones."""

from __future__ import annotations

from itertools import chain
from random import Random


def static_band(size: int, divisor: int, most: int) -> int:
    """Return how many of `size` numbers are kept for static requests: size/divisor in 16..most.

    A range of 16 or fewer has no such band. Source: KEP-3070, KEP-3668 (calculateRangeOffset)
    """
    least = 16
    return min(max(least, size // divisor), most) if size > least else 0


class Pool:
    """Numbers from `first` on, each taken or free. The lower `reserved` ones are used last.

    Pools may share `taken`, so that overlapping ones do not give out the same number.
    """

    def __init__(
        self,
        size: int,
        reserved: int,
        random: Random,
        *,
        first: int = 0,
        taken: set[int] | None = None,
    ) -> None:
        self._first, self._end = first, first + size
        middle = first + min(reserved, size)
        self._bands = (range(middle, self._end), range(first, middle))
        self._taken = set() if taken is None else taken
        self._random = random

    @property
    def free(self) -> int:
        return self._end - self._first - sum(each in self for each in self._taken)

    def __contains__(self, number: int) -> bool:
        return self._first <= number < self._end

    def take(self, number: int) -> bool:
        """Take a number; return whether it was free."""
        if number in self._taken:
            return False
        self._taken.add(number)
        return True

    def take_next(self) -> int | None:
        """Take and return the first free number from a random one on, None if all are taken."""
        for band in self._bands:
            if not band:
                continue
            start = self._random.randrange(len(band))
            for number in chain(band[start:], band[:start]):
                if self.take(number):
                    return number
        return None

    def give_back(self, number: int) -> None:
        """Free a number. One that is free already is no error."""
        self._taken.discard(number)
