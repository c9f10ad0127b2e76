"""Requests: what a configuration makes of what was asked for, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from gan_lab.errors import BadParameter
from gan_lab.schema import GenerateConfig, configure


def test_lives_are_shared_out_in_proportion_to_rows() -> None:
    config = configure("generate", {"lives": 10, "train": 70, "val": 15, "test": 15})
    assert isinstance(config, GenerateConfig)
    shares = config.lives_of_splits
    assert shares is not None and sum(shares.values()) == 10
    assert shares["train"] == 6 and min(shares.values()) >= 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"life_rows": (60, 50)},
            r"life_rows=\(60, 50\): the shortest life comes first. Ask for 50",
        ),
        ({"lives": 2}, r"lives=2 for 3 splits \(train, val, test\).*ask for 3 lives or more"),
    ],
)
def test_lives_that_cannot_be_are_refused_by_their_own_sentence(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadParameter, match=sentence):
        configure("generate", options)
    configure("generate", {"lives": 2, "life_rows": (50, 50), "val": 0})
