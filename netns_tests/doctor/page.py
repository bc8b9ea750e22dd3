"""The examples of docs/doctor.md, and what the doctor prints."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from textwrap import dedent
from unittest import mock

from msgspec.structs import replace

from kproxy.doctor import Diagnosis
from kproxy.doctor.report import print_report

PAGE = Path(__file__).parents[2] / "docs/doctor.md"
COLUMNS = "100"
MASKS = {
    r"(?<=127\.0\.0\.1:)\d+": "PORT",  # of the API, chosen by the kernel
    r"(?<=10\.244\.)\d+\.\d+(?=:)": "POD",  # which pods were there before
    r"(nf_conntrack_(?:count|max) ?= ?)\d+": r"\1N",  # the machine's
}


def check_example(diagnosis: Diagnosis) -> None:
    """Check that the first finding looks as on the page."""
    name = diagnosis.findings[0].id
    now, shown = printed(diagnosis), example(name)
    assert masked(now) == masked(shown), f"docs/doctor.md, {name}: it prints now\n{now}"


def printed(diagnosis: Diagnosis) -> str:
    """Return the first finding as the doctor prints it."""
    file = StringIO()
    first = replace(diagnosis, findings=diagnosis.findings[:1], symptoms=(), left_out=())
    with mock.patch.dict("os.environ", COLUMNS=COLUMNS):
        print_report(first, file)
    return file.getvalue().partition("\n\n")[0] + "\n"


def example(name: str) -> str:
    """Return the example of a finding."""
    section = PAGE.read_text().partition(f"\n### {name}\n")[2].partition("\n#")[0]
    lines = [each for each in section.splitlines() if each.startswith("    ")]
    return dedent("\n".join(lines)) + "\n"


def masked(text: str) -> str:
    for pattern, word in MASKS.items():
        text = re.sub(pattern, word, text)
    return text
