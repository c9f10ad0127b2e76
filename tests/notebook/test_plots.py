from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib import image

from gan_lab.notebook import plots
from gan_lab.schema import Roles
from gan_lab.task_states import BLUE, GREEN, GREY, VERMILION, VIOLET

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


@pytest.mark.parametrize("colour", [BLUE, VERMILION, GREEN, VIOLET, GREY])
def test_every_colour_is_legible_on_light_and_on_dark(colour: str) -> None:
    def luminance(value: str) -> float:  # WCAG 2.2, relative luminance
        channels = [int(value[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = luminance("#ffffff"), luminance("#111111")
    assert (light + 0.05) / (luminance(colour) + 0.05) >= 3
    assert (luminance(colour) + 0.05) / (dark + 0.05) >= 3


def test_a_chart_is_a_transparent_picture_where_scripts_do_not_run(lives: pd.DataFrame) -> None:
    chart = plots.life_with_rul(lives, ROLES, lives)
    drawn = image.imread(io.BytesIO(chart.png))
    assert drawn[0, -1, 3] == 0
    assert drawn[..., 3].max() == 1
    bundle = chart._repr_mimebundle_()
    before, script = bundle["text/html"].split("<script>")
    assert f'<img alt="{bundle["text/plain"]}"' in before
    assert "http" not in script.replace("http://www.w3.org", "")


def test_the_sensors_shown_are_those_that_wear_with_their_units(lives: pd.DataFrame) -> None:
    chart = plots.life_with_rul(lives, ROLES, lives, units={"wear": "mm"})
    labels = [(each.title.text, each.yaxis[0].axis_label) for each in chart.figures[:2]]
    assert labels == [("wear, real", "mm"), ("wear, synthetic", "mm")]
    assert chart.choices[1].options == ["wear", "noise", "rul"]
    assert "real 3, synthetic 3" in chart.alt
    named = plots.life_with_rul(lives, ROLES, columns=["wear", "noise", "wear"])
    assert [each.value for each in named.choices[1:]] == ["wear", "noise"]


def test_a_life_is_drawn_whole_over_its_rows_to_the_end(lives: pd.DataFrame) -> None:
    line = plots.life_with_rul(lives, ROLES).figures[0].renderers[0].data_source.data
    one = line["_life"] == "2"
    np.testing.assert_array_equal(line["_x"][one], [*range(-59, 1), 0])
    drawn = lives.loc[lives["unit"] == 2, "wear"].to_numpy(np.float32)
    np.testing.assert_array_equal(line["_y0"][one], [*drawn, np.nan])  # and a gap behind it


def test_every_failure_mode_is_drawn_and_can_be_chosen(lives: pd.DataFrame) -> None:
    roles = ROLES.model_copy(update={"failure_mode": "mode"})
    many = pd.concat(
        lives.assign(unit=100 * at + lives["unit"], mode="bearing" if at else "rotor")
        for at in range(30)
    )
    chart = plots.life_with_rul(many.assign(mode=many["mode"].where(many["unit"] != 1)), roles)
    assert chart.choices[0].options == ["all", "bearing", "none", "rotor"]
    line = chart.figures[0].renderers[0].data_source.data
    drawn = pd.Series(line["_mode"]).groupby(line["_life"]).first().value_counts()
    assert dict(drawn) == {"bearing": 13, "rotor": 2, "none": 1}


def test_rows_drawn_one_by_one_are_no_life(lives: pd.DataFrame) -> None:
    loose = lives.drop(columns=["unit", "cycle"])
    chart = plots.life_with_rul(lives, ROLES, loose)
    assert "real 3; the synthetic rows, drawn one by one, belong to no life" in chart.alt
    assert all(each.title.text.endswith(", real") for each in chart.figures)


def test_a_table_without_numbers_is_drawn_as_a_sentence(lives: pd.DataFrame) -> None:
    chart = plots.life_with_rul(lives[["unit", "state"]], Roles(life="unit"))
    assert repr(chart) == "Lives over the rows to their end (real 3): no numbers."
    assert set(chart._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_no_rows_and_a_sensor_fewer_on_the_synthetic_side_are_drawn(lives: pd.DataFrame) -> None:
    chart = plots.life_with_rul(lives, ROLES, lives.head(0).drop(columns="wear"))
    assert chart.choices[1].options == ["noise", "rul"]
    assert "real 3, synthetic 0" in chart.alt
    assert chart.png


def test_all_modes_are_offered_once(lives: pd.DataFrame) -> None:
    assert plots.life_with_rul(lives, ROLES, lives).choices[0].options == ["all"]
    roles = ROLES.model_copy(update={"failure_mode": "mode"})
    chart = plots.life_with_rul(lives.assign(mode="a"), roles, lives)
    assert chart.choices[0].options == ["all", "a"]


def test_a_name_is_no_formula(lives: pd.DataFrame) -> None:
    odd = lives.rename(columns={"wear": "a$^$b"})
    chart = plots.life_with_rul(odd, ROLES, units={"a$^$b": "$^$"})
    assert chart.png and "a$^$b" in chart.alt


def test_a_flag_is_no_sensor(lives: pd.DataFrame) -> None:
    flagged = lives.assign(failed=(lives["rul"] == 0).astype(int))
    assert plots.wearing(flagged, ROLES) == ["wear", "noise"]
