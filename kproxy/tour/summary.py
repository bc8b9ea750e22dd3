"""Summaries of findings in sentences. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from kproxy.probe import Finding
from kproxy.tour.part import Part, is_answered
from kproxy.tour.questions import (
    CLUSTER_IP,
    EXTERNAL_IP,
    LOAD_BALANCER,
    NODE_PORT,
    POD_ADDRESS,
)

_SAID = {
    CLUSTER_IP: "The cluster IP of {}",
    EXTERNAL_IP: "The external IP of {}",
    LOAD_BALANCER: "The load balancer's address of {}",
    NODE_PORT: "The node port of {}",
    POD_ADDRESS: "A pod behind {}",
}
_MANY = {
    "distribution": "Many connections of {0.client} are spread over the pods: {0.answered}.",
    "session affinity": "Connections of {0.client} stay together: {0.answered}.",
    "affinity expiry": "With pauses in between: {0.answered}.",
}


def paragraphs(parts: Iterable[Part], owner: Callable[[str], str]) -> Iterator[str]:
    """Yield a paragraph for each of `parts`, which are of Services, their names first in the title.

    `owner`: returns the owner of an address.
    """
    for part in parts:
        service = part.title.partition(",")[0]
        found: list[str] = []
        for check, subject in _SAID.items():
            findings = [each for each in part.findings if each.check == check]
            if findings:
                found.append(_sentence(subject.format(service), findings))
                found += _sources(findings, owner)
        found += [_MANY[each.check].format(each) for each in part.findings if each.check in _MANY]
        if found:
            yield " ".join(found)


def _sentence(subject: str, findings: list[Finding]) -> str:
    answered = list(dict.fromkeys(each.client for each in findings if is_answered(each)))
    unanswered = []
    for each in findings:
        if not is_answered(each):
            where = f" at {each.asked}" if each.client in answered else ""
            unanswered.append(f"{each.client}{where} ({each.answered})")
    unanswered = list(dict.fromkeys(unanswered))
    if not unanswered:
        return f"{subject} answers {_listed(answered)}."
    if not answered:
        return f"{subject} does not answer {_listed(unanswered)}."
    return f"{subject} answers {_listed(answered)}, but not {_listed(unanswered)}."


def _sources(findings: list[Finding], owner: Callable[[str], str]) -> Iterator[str]:
    """Yield a sentence on the sources that the server sees, if any is not the client's own, or
    else on the clients whose source is kept.
    """
    seen = {each.client: owner(each.source) for each in findings if is_answered(each)}
    hidden = [f"{it} instead of {client}" for client, it in seen.items() if it != client]
    kept = [client for client, it in seen.items() if it == client]
    if hidden:
        yield f"There the server sees {_listed(hidden)}."
    elif kept:
        yield f"There the server sees {_listed(kept)} as the source."


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
