"""The name of a rule in a sentence: its table and chain, and its comment. Pure."""

from __future__ import annotations

import re

from kproxy.kernel.trace import TraceStep

# iptables-save quotes only comments with blanks; nft quotes all.
_COMMENT = re.compile(r'--comment (?:"([^"]*)"|(\S+))| comment "([^"]*)"')
_VERDICT_MAP = re.compile(r" vmap @(\S+)")
_LONG = 60


def name_of(step: TraceStep, text: str) -> str:
    """Return the name of a rule. `text`: the rule, as iptables-save or nft prints it.

    `filter KUBE-EXTERNAL-SERVICES "default/web:http has no local endpoints"`, or, without a
    comment, with the rule itself if it is short.
    """
    place = f"{step.table} {step.chain}"
    if step.kind == "policy":
        return f"{place}, its policy"
    if comment := comment_of(text):
        return f'{place} "{comment}"'
    if verdicts := _VERDICT_MAP.search(text):
        return f"{place}, by map {verdicts[1]}"
    rule = text.removeprefix(f"-A {step.chain} ")
    return f"{place}: {rule}" if rule and len(rule) <= _LONG else place


def comment_of(text: str) -> str:
    """Return the comment of a rule, "" if it has none."""
    comment = _COMMENT.search(text)
    return (comment[1] or comment[2] or comment[3]) if comment else ""
