"""Masks for all that no two sessions have in common, and that is not compared."""

from __future__ import annotations

import re

MASKS = {  # in this order
    # what a rollout waits for depends on how fast it is
    r"^Waiting for deployment .*\n": "",
    # how curl says it, by its version
    r"Could not(?= connect to server)": "Couldn't",
    # 2026-01-02T03:04:05Z; Mon, 02 Jan 2026 03:04:05 +0000
    r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)": "TIME",
    r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} \+0000": "TIME",
    # ages and durations: 3s, 2m10s, 0.46 s, 1001 ms, 1001 milliseconds
    r"(?<![\w.:/-])(?:\d+d)?(?:\d+h)?(?:\d+m)?\d+(?:\.\d+)?m?s\b": "AGE",
    r"(?<![\w.:/-])\d+(?:\.\d+)? (?:milliseconds|ms|s)\b": "AGE",
    # the random end of an EndpointSlice's name
    r"(?<=\w-)[bcdfghjklmnpqrstvwxz2456789]{5}\b": "SUFFIX",
    # which of several pods has answered
    r'(?<="pod": ")web-\d+(?=")': "POD",
    # cluster IPs and ports that were chosen at random: node ports, those of clients and of the API
    r"\b10\.96\.(?!0\.10?\b)\d+\.\d+\b": "CLUSTER-IP",
    r"(?<![\d.])(?:[3-5]\d{4}|6[0-5]\d{3})(?![\d.])": "PORT",
    # memory, process ids, resource versions, and how often `uniq -c` has counted a line
    r"\d+\.\d(?= MiB)|(?<=process )\d+|(?<=resourceVersion: )\"\d+\"|^ +\d+(?= )": "NUMBER",
    # columns are as wide as what is in them, and long lines are folded where there is room
    r"\s+": " ",
}
_PATTERNS = [(re.compile(pattern, re.MULTILINE), word) for pattern, word in MASKS.items()]


def masked(output: str) -> str:
    """Return the output as it is compared."""
    for pattern, word in _PATTERNS:
        output = pattern.sub(word, output)
    return output.strip()
