"""What tasks do with a model: splits of their own lives, and a clear refusal."""

from __future__ import annotations

import pandas as pd
import pytest

from gan_lab.cluster.tasks import draw_splits
from gan_lab.errors import BadParameter
from gan_lab.schema import GenerateConfig, Roles, TrainConfig
from gan_lab.synth.tabular.model import TabularTVAE
from gan_lab.workspace.profiles import Profile
from tests.synth.lives.tables import ROLES, fit, simple_lives

PROFILE = Profile(machine_id="press", roles=ROLES)


def test_no_life_is_in_two_splits_and_a_seed_draws_the_same_again() -> None:
    model = fit(simple_lives())
    config = GenerateConfig(train=300, val=90, test=90, lives=9, seed=3)
    first, again = (list(draw_splits(model, config, PROFILE)) for _ in range(2))
    lives = {
        name: set(pd.concat([chunk for split, chunk in first if split == name])["unit"])
        for name in ("train", "val", "test")
    }
    assert {name: len(found) for name, found in lives.items()} == config.lives_of_splits
    assert len(set.union(*lives.values())) == 9
    for (_, one), (_, other) in zip(first, again, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_a_model_of_plain_rows_names_the_lives_that_were_asked_for() -> None:
    rows = pd.DataFrame({"a": range(40), "b": [1.5, 2.5] * 20})
    small = TrainConfig(epochs=1, embedding_dim=2, compress_dims=(4,), decompress_dims=(4,))
    plain = TabularTVAE.fit(rows, Roles(), small)
    with pytest.raises(BadParameter, match="lives=10 was asked of a model of plain rows"):
        list(
            draw_splits(plain, GenerateConfig(lives=10), Profile(machine_id="plain", roles=Roles()))
        )
