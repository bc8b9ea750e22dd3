"""Numbers that pass every comparison are refused wherever a time is given."""

from __future__ import annotations

import pytest

from kproxy.cli import main


@pytest.mark.parametrize(
    "arguments",
    [
        ("trace", "--node", "10.96.0.10:80", "--time=nan"),
        ("bench", "source", "--idle=nan"),
        ("bench", "source", "--soak=inf"),
    ],
    ids=lambda each: each[-1],
)
def test_no_time_is_infinite_or_no_number(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "is not a finite number" in capsys.readouterr().err
