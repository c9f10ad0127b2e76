from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib import image

from gan_lab.loss_curve import COLOURS
from gan_lab.notebook import plots
from gan_lab.schema import Roles

ROLES = Roles(life="unit", time="cycle", rul="rul")


@pytest.fixture
def lives() -> pd.DataFrame:
    random = np.random.default_rng(1)
    parts = []
    for unit, rows in enumerate((40, 60, 50), start=1):
        worn = np.linspace(0, 1, rows)
        parts.append(
            pd.DataFrame(
                {
                    "unit": unit,
                    "cycle": np.arange(rows),
                    "noise": random.normal(size=rows),
                    "wear": worn**2,
                    "constant": 1.0,
                    "state": random.choice(["on", "off"], rows),
                    "rul": np.arange(rows)[::-1],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def pixels(picture: plots.Picture) -> np.ndarray:
    return image.imread(io.BytesIO(picture._repr_png_()))


@pytest.mark.parametrize("colour", COLOURS)
def test_every_colour_is_legible_on_light_and_on_dark(colour: str) -> None:
    def luminance(value: str) -> float:  # WCAG 2.2, relative luminance
        channels = [int(value[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = luminance("#ffffff"), luminance("#111111")
    assert (light + 0.05) / (luminance(colour) + 0.05) >= 3
    assert (luminance(colour) + 0.05) / (dark + 0.05) >= 3


def test_pictures_are_transparent_and_say_what_they_show(lives: pd.DataFrame) -> None:
    pictures = [
        plots.distributions(lives, lives),
        plots.life_with_rul(lives, ROLES, lives),
    ]
    for picture in pictures:
        drawn = pixels(picture)
        assert drawn[0, -1, 3] == 0
        assert drawn[..., 3].max() == 1
        bundle, _ = picture._repr_mimebundle_()
        assert bundle["text/plain"].endswith(".")


def test_constants_are_left_out_and_texts_are_drawn_as_shares(lives: pd.DataFrame) -> None:
    picture = plots.distributions(lives, lives, ["wear", "state"])
    assert [axis.get_title(loc="left") for axis in picture.axes] == ["wear", "state"]
    assert "constant" not in plots.distributions(lives, lives).alt


def test_the_sensors_shown_are_those_that_wear(lives: pd.DataFrame) -> None:
    assert plots.wearing(lives, ROLES)[0] == "wear"
    assert len(plots.median_life(lives, ROLES)) == 50
    unknown = lives.assign(rul=lives["rul"].mask(lives["unit"] != 1))
    assert len(plots.median_life(unknown, ROLES)) == 40


def test_a_synthetic_life_is_shown_beside_a_real_one_of_the_same_failure_mode(
    lives: pd.DataFrame,
) -> None:
    roles = ROLES.model_copy(update={"failure_mode": "mode"})
    modes = lives["unit"].map({1: "bearing", 2: "winding", 3: "winding"})
    lives = lives.assign(mode=modes)
    bearing = lives[lives["unit"] == 1]
    assert set(plots.median_life(lives, roles)["unit"]) == {3}
    assert set(plots.median_life(lives, roles, alike=bearing)["unit"]) == {1}
    unheard_of = bearing.assign(mode="rotor")
    assert set(plots.median_life(lives, roles, alike=unheard_of)["unit"]) == {3}
    assert "real 40 rows, synthetic 40 rows" in plots.life_with_rul(bearing, roles, lives).alt


def test_rows_drawn_one_by_one_are_no_life(lives: pd.DataFrame) -> None:
    loose = lives.drop(columns=["unit", "cycle"])
    picture = plots.life_with_rul(lives, ROLES, loose)
    assert "belong to no life" in picture.axes[-1].get_xlabel()
    assert "real 50 rows; the synthetic rows" in picture.alt
