"""Profiles in many shapes come to one, and everything wrong is said in one go."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from gan_lab.errors import BadParameter, BadProfile
from gan_lab.workspace.profile_repair import (
    add_profile,
    normalise_profile,
    profile_problems,
    profile_schema,
)
from gan_lab.workspace.profiles import load_profile, read_yaml

CATALOGUE = sorted((Path(__file__).parents[2] / "data" / "machines").glob("*_[0-9][0-9][0-9].yaml"))


@pytest.mark.parametrize("path", CATALOGUE, ids=lambda path: path.stem)
def test_the_catalogue_needs_no_repair_and_fits_the_schema(path: Path) -> None:
    content = read_yaml(path)
    jsonschema.validate(content, profile_schema())
    profile, repairs = normalise_profile(content)
    assert (profile.machine_id, repairs) == (path.stem, [])


@pytest.mark.parametrize(
    "sensors",
    [
        [{"name": "oil_temp_C", "min": 0, "typical": 50, "max": 90}],
        {"temperature": {"oil_temp_C": {"min": 0, "typical": 50, "max": 90}}},
        {"oil_temp_C": {"minimum": 0, "nominal": 50, "maximum": 90}},
    ],
    ids=["list", "groups", "flat"],
)
def test_sensors_come_as_a_list_in_groups_or_flat(sensors: object) -> None:
    profile, repairs = normalise_profile({"name": "press_7", "sensors": sensors})
    sensor = profile.sensors["oil_temp_C"]
    assert (sensor.minimum, sensor.typical, sensor.maximum) == (0, 50, 90)
    assert sensor.unit == "degC"
    assert "name became machine_id." in repairs
    assert any("read from the name" in repair for repair in repairs)


def test_a_typical_value_alone_gets_a_range() -> None:
    profile, repairs = normalise_profile({"machine_id": "press_7", "sensors": {"flow_l_min": 50}})
    sensor = profile.sensors["flow_l_min"]
    assert (sensor.minimum, sensor.maximum, sensor.unit) == (40, 60, "l/min")
    assert any("+-20 %" in repair for repair in repairs)


def test_a_range_that_is_missing_holds_the_levels() -> None:
    sensor = {"typical": 50, "critical": 90}
    profile, _ = normalise_profile({"machine_id": "press_7", "sensors": {"oil_temp_C": sensor}})
    assert (profile.sensors["oil_temp_C"].minimum, profile.sensors["oil_temp_C"].maximum) == (
        40,
        100,
    )


def test_an_id_is_brought_into_shape_and_said() -> None:
    profile, repairs = normalise_profile({"name": "Press 7 (hall B)"})
    assert profile.machine_id == "press_7_hall_b"
    assert "machine_id: 'Press 7 (hall B)' became 'press_7_hall_b'." in repairs


def test_everything_wrong_is_said_at_once_the_parts_and_the_whole() -> None:
    content = {
        "machine_id": "press_7",
        "category": "toaster",
        "colour": "red",
        "life": {"mean_h": "long", "spread_h": 3},
        "sensors": {
            "temperature": {"a_C": {"minimum": 0, "typical": 99, "maximum": 9}, "f_C": 40},
            "b_C": {"minimum": 0, "typical": 5, "maximum": 9, "warning": 8, "critical": 7},
            "c_C": {"minimum": 0, "typical": 5, "maximum": 9, "formula": "a_C + d_C"},
            "e_C": {"typical": "high"},
            "g_C": {"typical": 1, "formula": "h_C + 1"},
            "h_C": {"typical": 1, "formula": "g_C + e_C"},
        },
        "failure_modes": {"seal": {"share": 0.5, "sensors": {"k_C": 1, "f_C": 1, "e_C": 1}}},
        "states": {"full": {"share": 300}, "idle": {"share": 0.2}},
    }
    with pytest.raises(BadProfile) as caught:
        normalise_profile(content)
    assert [line.split(":")[0].split("=")[0] for line in caught.value.problems] == [
        "life.mean_h", "sensors.e_C.minimum", "sensors.e_C.typical", "sensors.e_C.maximum",
        "states.full.share", "colour", "category", "sensors.a_C.typical", "sensors.b_C.warning",
        "sensors.c_C.formula", "sensors", "failure_modes.seal.sensors.k_C",
        "failure_modes.seal.sensors.f_C", "failure_modes",
    ]  # fmt: skip
    text = str(caught.value)
    for words in ("toaster", "99", "d_C is no sensor", "g_C and h_C need each other's", "0.5"):
        assert words in text


def test_what_is_no_profile_is_a_sentence() -> None:
    with pytest.raises(BadProfile, match="not a mapping"):
        normalise_profile(["press"])


def test_a_good_profile_has_no_problems() -> None:
    assert not list(profile_problems(normalise_profile({"machine_id": "press_7"})[0]))


def test_a_hand_written_profile_is_added_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_LAB_HOME", str(tmp_path))
    (tmp_path / "p.yaml").write_text("name: Press 7\nsensors: {oil_temp_C: 50}\n")
    profile, repairs = add_profile(tmp_path / "p.yaml")
    assert load_profile("press_7") == profile and len(repairs) == 4
    with pytest.raises(BadParameter, match="--replace"):
        add_profile(tmp_path / "p.yaml")
    with pytest.raises(BadParameter, match="no file"):
        add_profile(tmp_path / "q.yaml")
