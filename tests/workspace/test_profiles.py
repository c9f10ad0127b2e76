"""Profiles: ids, reading, writing, what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from types import FunctionType

import pytest

import gan_lab as lab
from gan_lab.errors import BadParameter, BadProfile, UnknownMachine
from gan_lab.schema import Roles
from gan_lab.workspace.profiles import (
    Profile,
    check_machine_id,
    load_profile,
    profile_ids,
    profile_path,
    write_profile,
)


@pytest.fixture
def workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAN_LAB_HOME", str(home))
    return home


@pytest.mark.parametrize("machine_id", ["press_7", "abc", "m" * 64, "cnc_haas_vf2_001"])
def test_good_ids_pass(machine_id: str) -> None:
    assert check_machine_id(machine_id) == machine_id


@pytest.mark.parametrize(
    "machine_id",
    [
        "../../etc/passwd", "Motor 1", "", "ab", "7up", "_abc", "abc_", "a__b", "abc\n", "m" * 65,
        "prüf_1", "a/b", "abc.yaml",
    ],
)  # fmt: skip
def test_bad_ids_are_refused_with_the_value(machine_id: str) -> None:
    with pytest.raises(BadParameter, match="is not a machine id"):
        check_machine_id(machine_id)


def test_a_profile_comes_back_as_it_was_written(workspace: Path) -> None:
    profile = Profile(
        machine_id="press_7", sensors={"Druck [bar]": {"minimum": 0, "typical": 5, "maximum": 9}},
        roles=Roles(life="unit"),
    )  # fmt: skip
    write_profile(profile)
    assert load_profile("press_7") == profile
    assert profile_ids() == ["press_7"]
    assert [path.name for path in (workspace / "data" / "machines").glob("*")] == ["press_7.yaml"]


def test_an_unknown_machine_names_those_that_look_alike(workspace: Path) -> None:
    write_profile(Profile(machine_id="motor_siemens_001"))
    with pytest.raises(UnknownMachine, match=r"Did you mean motor_siemens_001\?"):
        load_profile("motor_simens_001")


def test_everything_wrong_is_reported_at_once(workspace: Path) -> None:
    write_profile(Profile(machine_id="press_7"))
    profile_path("press_7").write_bytes(
        b"machine_id: press_7\ninterval_s: -5\nlife: {mean_h: many, spread_h: 3}\ncolour: red\n"
    )
    with pytest.raises(BadProfile) as caught:
        load_profile("press_7")
    text = str(caught.value)
    assert len(caught.value.problems) == 3
    assert all(word in text for word in ("interval_s", "-5", "life.mean_h", "many", "colour"))


def test_a_file_that_is_not_yaml_says_where(workspace: Path) -> None:
    write_profile(Profile(machine_id="press_7"))
    profile_path("press_7").write_bytes(b"machine_id: [press\n")
    with pytest.raises(BadProfile, match="line"):
        load_profile("press_7")


def test_the_module_does_not_hide_the_function_of_its_name() -> None:
    assert isinstance(lab.train, FunctionType)  # not a module
    assert isinstance(lab.machines, FunctionType)
