"""An answer as text and as values for JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kproxy.backend.registry import load
from kproxy.report.width import wrapped
from kproxy.verdict.decision import Action, Verdict
from kproxy.verdict.question import Answer

_SENTENCES = {
    Action.DROP: "drop: the packet is gone, and the client is told nothing",
    Action.PASS: "pass: the proxy leaves the packet as it is",
}
_UNREACHABLE = "ICMP port unreachable"
_BY_KERNELS = {  # for ports that no process listens at
    "TCP": "a reset",
    "UDP": _UNREACHABLE,
    "SCTP": "an abort, or ICMP protocol unreachable",
}


def values(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict for JSON."""
    return {
        "verdict": str(verdict.action),
        "endpoints": list(verdict.endpoints),
        "masquerade": verdict.masquerade,
        "reason": list(verdict.reasons),
    }


def lines(answer: Answer, width: int) -> Iterator[str]:
    """Yield the lines of a report, none longer than `width` columns but for single words."""
    verdict = answer.verdict
    asked = f"{answer.sender.address} asks {answer.place}"
    yield from wrapped(f"{asked}: what {answer.node} does, in {answer.mode} mode", width)
    yield ""
    yield from wrapped(_sentence(answer), width)
    yield from (f"  {endpoint}" for endpoint in verdict.endpoints)
    yield ""
    for number, reason in enumerate(verdict.reasons, 1):
        yield from wrapped(f"{number}. {reason}", width)


def _sentence(answer: Answer) -> str:
    verdict = answer.verdict
    if verdict.action is Action.REJECT:
        # Proxies that forward themselves have no rules: where they do not listen, nobody does.
        by_kernel = load(answer.mode).forwards_itself
        how = _BY_KERNELS[answer.place.protocol] if by_kernel else _UNREACHABLE
        return f"reject: the client is told that nobody is there ({how})"
    if verdict.action is not Action.FORWARD:
        return _SENTENCES[verdict.action]
    count = len(verdict.endpoints)
    to = "its only endpoint" if count == 1 else f"one of {count} endpoints"
    seen = "an address of the node" if verdict.masquerade else "the sender's own address"
    return f"forward to {to}, which sees {seen}"
