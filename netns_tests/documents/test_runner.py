"""The runner: blocks are found and rewritten, and masks leave the differences that matter."""

from __future__ import annotations

import pytest

from netns_tests.documents.masks import masked
from netns_tests.documents.pages import Step, rewritten, steps

PAGE = """# A page

```console
$ echo one
one
$ cat <<END
> two
> END
```

    $ not typed

```console
$ true
$ seq 2
1
> 2
```
"""
STEPS = [
    Step("echo one\n", "one\n"),
    Step("cat <<END\ntwo\nEND\n", ""),
    Step("true\n", ""),
    Step("seq 2\n", "1\n> 2\n"),
]
SAME = [
    (
        "web   ClusterIP   10.96.85.197   <none>   80/TCP   0s",
        "web  ClusterIP 10.96.9.7 <none> 80/TCP  2m3s",
    ),
    (
        "web   NodePort   10.96.1.1   <none>   80:30463/TCP   1s",
        "web NodePort 10.96.1.2 <none> 80:31000/TCP 9s",
    ),
    ("     14 x\n", "     16 x\n"),
    ("web-2mzp6   IPv4", "web-z4d7w IPv4"),
    ('Waiting for deployment "web" rollout to finish: 0 of 2\nrolled out', "rolled out"),
    (
        "Connection timed out after 2001 milliseconds",
        "Connection timed out after 2000 milliseconds",
    ),
]
OTHER = [
    ("web   10.96.0.10", "web   10.96.0.1"),
    ('{"pod": "web-1", "source": "10.244.3.11"', '{"pod": "web-1", "source": "10.244.3.1"'),
    ("web-1   0/1", "web-1   1/1"),
    ("web   80/TCP", "web   81/TCP"),
    ("Masq    1      0", "Masq    2      0"),
    ("0\n", "1\n"),
    ("shell", "shop"),
]


def test_steps_are_found() -> None:
    assert steps(PAGE) == STEPS


def test_a_page_is_rewritten_with_its_own_output() -> None:
    assert rewritten(PAGE, [step.output for step in STEPS]) == PAGE


def test_a_page_gets_other_output() -> None:
    assert "$ true\nnew\n$ seq 2\n```" in rewritten(PAGE, ["", "", "new\n", ""])


def test_a_block_begins_with_a_command() -> None:
    with pytest.raises(ValueError, match="begins with output: 'one"):
        steps("```console\none\n```")


@pytest.mark.parametrize(("shown", "printed"), SAME)
def test_what_varies_is_not_compared(shown: str, printed: str) -> None:
    assert masked(shown) == masked(printed)


@pytest.mark.parametrize(("shown", "printed"), OTHER)
def test_what_matters_is_compared(shown: str, printed: str) -> None:
    assert masked(shown) != masked(printed)
