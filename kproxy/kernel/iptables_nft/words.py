"""The words of a rule that is being read, for both variants of iptables. Pure."""

from __future__ import annotations

from kproxy.kernel.iptables_nft.extensions import Unknown


class Words:
    """A place between words. `equal`: there was no "!" before the present option."""

    __slots__ = ("at", "equal", "words")

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.at = 0  # the next word
        self.equal = True

    def value(self) -> str:
        self.at += 1
        return self.words[self.at - 1]

    def takes(self, *options: str) -> bool:
        """Tell whether these words follow, and pass over them if they do."""
        end = self.at + len(options)
        if self.words[self.at : end] != [*options]:
            return False
        self.at = end
        return True

    def needs(self, *options: str) -> str:
        """Return the word behind these, which must follow."""
        if not self.takes(*options):
            raise Unknown(f"anything but {' '.join(options)}")
        return self.value()
