"""Profiles in many shapes come to one, and everything wrong is said in one go."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from gan_lab.errors import BadParameter, BadProfile
from gan_lab.machines import load_profile, read_yaml
from gan_lab.profile_repair import add_profile, normalise_profile, profile_problems, profile_schema

CATALOGUE = sorted((Path(__file__).parents[1] / "data" / "machines").glob("*_[0-9][0-9][0-9].yaml"))


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


def test_an_id_is_brought_into_shape_and_said() -> None:
    profile, repairs = normalise_profile({"name": "Press 7 (hall B)"})
    assert profile.machine_id == "press_7_hall_b"
    assert "machine_id: 'Press 7 (hall B)' became 'press_7_hall_b'." in repairs


def test_everything_that_contradicts_itself_is_said_at_once() -> None:
    content = {
        "machine_id": "press_7",
        "category": "toaster",
        "sensors": {
            "a_C": {"minimum": 0, "typical": 99, "maximum": 9},
            "b_C": {"minimum": 0, "typical": 5, "maximum": 9, "warning": 8, "critical": 7},
            "c_C": {"minimum": 0, "typical": 5, "maximum": 9, "formula": "a_C + d_C"},
        },
        "failure_modes": {"seal": {"share": 0.5, "sensors": {"e_C": 1}}},
    }
    with pytest.raises(BadProfile) as caught:
        normalise_profile(content)
    text = str(caught.value)
    assert len(caught.value.problems) == 6
    for words in ("toaster", "a_C.typical=99", "b_C.warning=8", "d_C", "seal.sensors.e_C", "0.5"):
        assert words in text


def test_what_is_no_profile_is_a_sentence() -> None:
    with pytest.raises(BadProfile, match="not a mapping"):
        normalise_profile(["press"])


def test_a_good_profile_has_no_problems() -> None:
    assert profile_problems(normalise_profile({"machine_id": "press_7"})[0]) == []


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
