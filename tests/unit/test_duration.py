from __future__ import annotations

import pytest

from angarium.domain.duration import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (0.4, "0 s"), (59, "59 s"), (60, "1 min"), (90, "1 min 30 s"), (6_300, "1 h 45 min"),
        (86_400, "1 d"), (93_784, "1 d 2 h"), (3_601, "1 h 1 s"),
    ],
)  # fmt: skip
def test_a_duration_is_read_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
