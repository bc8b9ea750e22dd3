"""The effect of a rule on the packet that it matched, from its verdict and its text. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kproxy.explain.rule_names import comment_of
from kproxy.kernel.trace import TraceStep

# Words of iptables' targets and of nft's statements, in this order: a rule may have several.
_WORDS = (
    ("dnat", re.compile(r"-j (DNAT|REDIRECT)\b|\b(dnat|redirect)\b")),
    ("masquerade", re.compile(r"-j MASQUERADE\b|\bmasquerade\b")),
    ("snat", re.compile(r"-j SNAT\b|\bsnat\b")),
    ("reject", re.compile(r"-j REJECT\b|\breject\b")),
    ("mark", re.compile(r"-j (MARK|CONNMARK)\b|\bmark set\b")),
    ("affinity", re.compile(r"-m recent .*--set\b|\b(update|add) @affinity")),
)
_PURPOSES = {
    "dnat": "translates the destination",
    "masquerade": "sets the source to an address of this host",
    "snat": "sets the source",
    "reject": "refuses it with an answer",
    "drop": "drops it",
    "accept": "lets it pass",
    "mark": "changes its mark",
    "affinity": "remembers the client",
}
_JUMPS = ("jump ", "goto ")


def effect_of(step: TraceStep, text: str, chains: Mapping[str, str], *, base: bool) -> str:
    """Return what the step did, as `itinerary.Step.effect` names it; "" for nothing.

    `text`: the rule as its tool prints it. `chains`: as `Mode.chains`. `base`: its chain is a base
    chain, in which to accept is to let the next one decide.
    """
    if step.kind == "policy":
        return "drop" if step.verdict == "drop" else ""
    if step.kind == "return":
        return ""
    bare = _without_comment(text)
    for effect, words in _WORDS:
        if words.search(bare):
            return effect
    if step.verdict.startswith(_JUMPS):
        return "jump" if _chain_purpose(step.verdict, chains) else ""
    if step.verdict == "drop":
        return "drop"
    return "accept" if step.verdict == "accept" and not base else ""


def purpose_of(step: TraceStep, text: str, effect: str, chains: Mapping[str, str]) -> str:
    """Return a few words for what a rule with this effect is for: its comment, or ours."""
    if not effect:
        return ""
    if effect == "jump":
        return comment_of(text) or _chain_purpose(step.verdict, chains)
    return comment_of(text) or _PURPOSES[effect]


def _chain_purpose(verdict: str, chains: Mapping[str, str]) -> str:
    """Return the words for the chain that a verdict leads to: those of the longest beginning."""
    target = verdict.partition(" ")[2]
    found = [beginning for beginning in chains if target.startswith(beginning)]
    return chains[max(found, key=len)] if found else ""


def _without_comment(text: str) -> str:
    return re.sub(r'--comment (?:"[^"]*"|\S+)|"[^"]*"', "", text)
