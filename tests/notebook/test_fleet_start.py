"""Fleets before anything runs: for which machines, by which notebook, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import gan_lab as lab
from gan_lab.errors import BadParameter, RequestError, UnknownMachine
from gan_lab.notebook.fleet.start import (
    check_parameters,
    choose_machines,
    machines_with_parameters,
    notebook_parameters,
)

FIXTURES = Path(__file__).parent / "fixtures"
GOOD = FIXTURES / "good.ipynb"
MOTORS = ["motor_abb_m3bp_002", "motor_siemens_001", "motor_siemens_1la7_001", "motor_weg_w22_003"]


@pytest.mark.parametrize(
    ("notebook", "parameters", "sentence"),
    [
        ("good", {"epoch": 3}, "no parameter 'epoch', but: machine_id, epochs"),
        ("good", {"epochs": "many"}, "epochs of motor_siemens_001 is 'many'"),
        ("good", {"epochs": float("nan")}, "JSON cannot hold"),
        ("good", {"epochs": {1, 2}}, "JSON cannot hold"),
        ("no_parameters_cell", {}, "no cell tagged `parameters` that sets machine_id"),
        ("other_machine_parameter", {}, "no cell tagged `parameters` that sets machine_id"),
        ("absent", {}, "cannot be read as a notebook"),
    ],
)
def test_wrong_parameters_are_refused(
    notebook: str, parameters: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RequestError, match=sentence):
        check_parameters(FIXTURES / f"{notebook}.ipynb", {"motor_siemens_001": parameters})


def test_nothing_is_left_of_a_refused_fleet(home: Path) -> None:
    with pytest.raises(BadParameter):
        lab.run_fleet(["motor_*"], GOOD, {"epoch": 3})
    with pytest.raises(BadParameter, match="no notebook"):
        lab.run_fleet(["motor_*"], "absent.ipynb")
    with pytest.raises(BadParameter, match="greater than 0"):
        lab.run_fleet(["motor_*"], GOOD, at_once=0)
    assert list((home / "runs").iterdir()) == []


def test_every_value_of_the_parameters_cell_is_known() -> None:
    assert notebook_parameters(GOOD) == {"machine_id": "motor_siemens_001", "epochs": 2}


def test_patterns_name_machines(home: Path) -> None:
    assert choose_machines(["motor_siemens_001", "motor_*"]) == [MOTORS[1], MOTORS[0], *MOTORS[2:]]
    with pytest.raises(UnknownMachine, match="moter_"):
        choose_machines(["moter_*"])


def test_a_table_gives_each_machine_its_parameters(home: Path) -> None:
    rows = home / "machines.csv"
    rows.write_text("machine_id,epochs,note\nmotor_siemens_001,5,\nmotor_weg_w22_003,,slow\n")
    assert machines_with_parameters(rows, {"epochs": 300}) == {
        "motor_siemens_001": {"epochs": 5},
        "motor_weg_w22_003": {"epochs": 300, "note": "slow"},
    }
    twice = pd.DataFrame({"machine_id": ["motor_siemens_001", "motor_siemens_001"]})
    with pytest.raises(BadParameter, match="twice"):
        machines_with_parameters(twice, {})
    with pytest.raises(BadParameter, match="no column machine_id"):
        machines_with_parameters(pd.DataFrame({"machine": ["a"]}), {})
    with pytest.raises(BadParameter, match="Cannot read"):
        machines_with_parameters(home / "absent.csv", {})
