"""Keeps the version of each manifest that is in force."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kproxy.api.manifests import Decoded

Texts = Mapping[str, bytes]  # file name -> contents


class LastGood:
    """The last version of each file without problems.

    `decode` checks all files together, as objects in different files may conflict; its problems
    begin with the name of the file and a colon.
    """

    def __init__(self, decode: Callable[[Texts], Decoded]) -> None:
        self._decode = decode
        self._texts: Texts = {}

    def take(self, texts: Texts) -> Decoded:
        """Return the objects now in force, and the problems of versions that are not.

        `texts` holds every present file. A file with problems counts as it was before, a new one
        not at all; if what remains still has conflicts, nothing changes.
        """
        emptied = {name for name in texts if not texts[name].strip() and self._texts.get(name)}
        problems = [f"{name}: empty; to remove its objects, remove the file" for name in emptied]
        accepted = self._without(emptied, texts)
        decoded = self._decode(accepted)
        if decoded.problems:
            problems += decoded.problems
            blamed = {
                name
                for name in accepted
                if any(problem.startswith(f"{name}:") for problem in decoded.problems)
            }
            accepted = self._without(blamed, accepted)
            decoded = self._decode(accepted)
        if decoded.problems:
            accepted = self._texts
            decoded = self._decode(accepted)
        self._texts = dict(accepted)
        return Decoded(decoded.objects, tuple(problems), decoded.notices)

    def _without(self, rejected: set[str], texts: Texts) -> Texts:
        """Return `texts` with the rejected files as they were before."""
        former = {name: self._texts[name] for name in rejected if name in self._texts}
        return {name: text for name, text in texts.items() if name not in rejected} | former
